"""What is checked of a restored records capture, without a store: every record is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llmvault.core.errors import VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import CollectionFacts, Observation
from llmvault.sources.records.reading import CapturedCollection, facts_in, read_capture


def check_capture(source: str, restored: Path, recorded: Observation) -> tuple[Check, ...]:
    """Read every record against its digest; compare counts, samples and settings."""
    wanted = {facts.name: facts for facts in recorded.collections}
    try:
        found = [_facts(one, wanted) for one in read_capture(restored)]
    except VaultError as error:
        verdict = Verdict.FAILED if error.exit_code == 1 else Verdict.UNPROVEN
        return (Check("records", source, verdict, str(error)),)
    total = sum(each.count for each in found)
    if not total:
        detail = "the capture is complete and holds no record"
        return (Check("records", source, Verdict.UNPROVEN, detail),)
    told = f"{total} records in {len(found)} collections match their digests"
    by_name = {facts.name: facts for facts in found}
    return (
        Check("records", source, Verdict.PROVEN, told),
        _collections(source, by_name, wanted),
        _samples(source, by_name, wanted),
        _settings(source, by_name, wanted),
    )


def _facts(
    collection: CapturedCollection, wanted: Mapping[str, CollectionFacts]
) -> CollectionFacts:
    recorded = wanted.get(collection.name)
    return facts_in(collection, tuple(recorded.sample_digests) if recorded else (), 1)


def _collections(
    source: str, found: Mapping[str, CollectionFacts], wanted: Mapping[str, CollectionFacts]
) -> Check:
    if not wanted:
        detail = "no collection was recorded to compare with"
        return Check("collections", source, Verdict.UNPROVEN, detail)
    for name in sorted(found.keys() | wanted.keys()):
        here, there = _count(found, name), _count(wanted, name)
        if here != there:
            detail = f"{name}: {here} restored, {there} recorded"
            return Check("collections", source, Verdict.FAILED, detail)
    total = sum(facts.count for facts in wanted.values())
    detail = f"{len(wanted)} collections with {total} records, as recorded"
    return Check("collections", source, Verdict.PROVEN, detail)


def _count(facts: Mapping[str, CollectionFacts], name: str) -> str:
    return f"{facts[name].count} records" if name in facts else "no such collection"


def _samples(
    source: str, found: Mapping[str, CollectionFacts], wanted: Mapping[str, CollectionFacts]
) -> Check:
    compared = 0
    for name, facts in wanted.items():
        here = found[name].sample_digests if name in found else {}
        for key, digest in facts.sample_digests.items():
            if here.get(key) != digest:
                detail = f"{name}: record {key!r} is not what was recorded"
                return Check("samples", source, Verdict.FAILED, detail)
            compared += 1
    if not compared:
        return Check("samples", source, Verdict.UNPROVEN, "no sample was recorded to compare with")
    return Check("samples", source, Verdict.PROVEN, f"{compared} sample records are as recorded")


def _settings(
    source: str, found: Mapping[str, CollectionFacts], wanted: Mapping[str, CollectionFacts]
) -> Check:
    differing: Sequence[str] = [
        name
        for name, facts in wanted.items()
        if name in found and dict(found[name].settings) != dict(facts.settings)
    ]
    if differing:
        detail = f"{differing[0]}: its definition is not what was recorded"
        return Check("schema", source, Verdict.FAILED, detail)
    if not wanted:
        return Check("schema", source, Verdict.UNPROVEN, "no definition was recorded")
    detail = f"the definitions of {len(wanted)} collections are as recorded"
    return Check("schema", source, Verdict.PROVEN, detail)
