"""Comparing a restored store, opened by its own engine, with what was recorded of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import CollectionFacts, Finding


def compare_exactly(
    source: str, recorded: Sequence[CollectionFacts], found: Sequence[CollectionFacts]
) -> tuple[Check, ...]:
    """Return the checks ``collections``, ``settings`` and ``samples``.

    Counts, dimensions, index and schema settings must be equal, sampled records bit for bit.
    """
    by_name = {facts.name: facts for facts in found}
    return (
        _collections(source, recorded, by_name),
        _settings(source, recorded, by_name),
        _samples(source, recorded, by_name),
    )


def _collections(
    source: str, recorded: Sequence[CollectionFacts], found: dict[str, CollectionFacts]
) -> Check:
    name = "collections"
    if not recorded:
        detail = "no collection was recorded to compare with"
        return Check(name, source, Verdict.UNPROVEN, detail)
    for facts in recorded:
        other = found.get(facts.name)
        if other is None:
            return Check(name, source, Verdict.FAILED, f"{facts.name} is not there")
        if (facts.count, facts.dimension) != (other.count, other.dimension):
            detail = f"{facts.name} has {other.count} records{_of(other)}, "
            detail += f"recorded were {facts.count}{_of(facts)}"
            return Check(name, source, Verdict.FAILED, detail)
    if more := sorted(set(found) - {facts.name for facts in recorded}):
        return Check(name, source, Verdict.FAILED, f"{more[0]} is there and was not recorded")
    total = sum(facts.count for facts in recorded)
    detail = f"{len(recorded)} collections with {total} records, as recorded"
    return Check(name, source, Verdict.PROVEN, detail)


def _of(facts: CollectionFacts) -> str:
    return "" if facts.dimension is None else f" of dimension {facts.dimension}"


def _settings(
    source: str, recorded: Sequence[CollectionFacts], found: dict[str, CollectionFacts]
) -> Check:
    compared = 0
    for facts, other in _pairs(recorded, found):
        for key, value in facts.settings.items():
            if other.settings.get(key) != value:
                detail = f"{facts.name}: its {key} is not what was recorded"
                return Check("settings", source, Verdict.FAILED, detail)
            compared += 1
    if not compared:
        detail = "no schema or index setting was recorded to compare with"
        return Check("settings", source, Verdict.UNPROVEN, detail)
    detail = f"{compared} schema and index settings are as recorded"
    return Check("settings", source, Verdict.PROVEN, detail)


def _samples(
    source: str, recorded: Sequence[CollectionFacts], found: dict[str, CollectionFacts]
) -> Check:
    compared = 0
    for facts, other in _pairs(recorded, found):
        fewer = len(other.sample_digests) < len(facts.sample_digests) and other.count == facts.count
        for key, digest in facts.sample_digests.items():
            if fewer and key not in other.sample_digests:
                continue  # the policy asks for fewer samples now
            if other.sample_digests.get(key) != digest:
                detail = f"{facts.name}: record {key!r} is not what was recorded"
                return Check("samples", source, Verdict.FAILED, detail)
            compared += 1
    if not compared:
        detail = "no sampled record could be compared"
        return Check("samples", source, Verdict.UNPROVEN, detail)
    detail = f"{compared} sampled records and vectors are as recorded, bit for bit"
    return Check("samples", source, Verdict.PROVEN, detail)


def _pairs(
    recorded: Sequence[CollectionFacts], found: dict[str, CollectionFacts]
) -> Iterator[tuple[CollectionFacts, CollectionFacts]]:
    return ((facts, found[facts.name]) for facts in recorded if facts.name in found)


def findings_check(source: str, findings: Sequence[Finding]) -> tuple[Check, ...]:
    """Return a check for the gravest thing that the engine found wrong; none when nothing is."""
    for severity, verdict in (("failed", Verdict.FAILED), ("unproven", Verdict.UNPROVEN)):
        for finding in findings:
            if finding.severity == severity:
                told = f"{finding.path}: {finding.detail}" if finding.path else finding.detail
                return (Check(finding.name, source, verdict, told),)
    return ()
