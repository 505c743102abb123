"""Comparing what a restored store holds with what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isclose

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import CollectionFacts

_NAMED = 3
# Some stores normalise a vector anew when it is loaded, which moves the last bits of a float32.
_VECTOR_TOLERANCE = 1e-5


def compare_collections(
    source: str, recorded: tuple[CollectionFacts, ...], found: tuple[CollectionFacts, ...]
) -> Check:
    """Return the check ``records``: counts, dimensions and sampled records are as recorded.

    Digests are compared exactly, vectors within 1e-5 of each component. Where the policy now asks
    for fewer samples than were recorded, those that both have are compared.
    """
    by_name = {facts.name: facts for facts in found}
    problems = [
        problem for facts in recorded if (problem := _differs(facts, by_name.get(facts.name)))
    ]
    if problems:
        return Check("records", source, Verdict.FAILED, "; ".join(problems))
    if not recorded:
        return Check("records", source, Verdict.UNPROVEN, "the manifest names no collection")
    total = sum(facts.count for facts in recorded)
    compared = sum(len(_digests_of_both(facts, by_name[facts.name])) for facts in recorded)
    if total and not compared and any(facts.sample_digests for facts in recorded):
        detail = f"{total} records; none of the sampled ones could be compared"
        return Check("records", source, Verdict.UNPROVEN, detail)
    detail = f"{_many(len(recorded), 'collection')}, {_many(total, 'record')}"
    detail += f"; {_many(compared, 'sampled record')} identical"
    return Check("records", source, Verdict.PROVEN, detail)


def _digests_of_both(recorded: CollectionFacts, found: CollectionFacts) -> tuple[str, ...]:
    return _to_compare(recorded.sample_digests, found.sample_digests)


def _to_compare(recorded: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    """Return the ids to compare: all recorded ones, unless fewer are sampled now."""
    wanted, there = tuple(recorded), set(found)
    if len(there) < len(wanted):
        return tuple(key for key in wanted if key in there)
    return wanted


def _differs(recorded: CollectionFacts, found: CollectionFacts | None) -> str:
    if found is None:
        return f"{recorded.name} is missing"
    if (found.count, found.dimension) != (recorded.count, recorded.dimension):
        return (
            f"{recorded.name} has {found.count} records of dimension {found.dimension}, "
            f"had {recorded.count} of {recorded.dimension}"
        )
    changed = [
        key
        for key in _digests_of_both(recorded, found)
        if found.sample_digests.get(key) != recorded.sample_digests[key]
    ]
    changed += [
        key
        for key in _to_compare(recorded.sample_vectors, found.sample_vectors)
        if key not in changed
        and not _same_vector(recorded.sample_vectors[key], found.sample_vectors.get(key, ()))
    ]
    return f"{recorded.name}: records differ: {', '.join(changed[:_NAMED])}" if changed else ""


def _same_vector(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=_VECTOR_TOLERANCE, abs_tol=_VECTOR_TOLERANCE)
        for a, b in zip(one, other, strict=True)
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
