"""Whether replayed answers are the recorded ones. Pure: same sets, same verdict.

How answers are compared is specified in ``docs/formats/goldens.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from llmvault.core.verdict import Check, Verdict
from llmvault.drill.engines.interface import UNKNOWN, EngineIdentity
from llmvault.drill.golden import (
    CompletionRecord,
    EmbeddingRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    Record,
    encode_vector,
)

R = TypeVar("R")
Pair = tuple[Record, Record]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is demanded of answers that need not be equal to the last bit.

    Attributes:
        min_agreement: share of equal tokens, when another engine, device or dtype answered.
        min_cosine: of each embedding with its recorded one.
        min_recall: mean share of the recorded neighbours that were found again.
    """

    min_agreement: float = 0.9
    min_cosine: float = 0.999
    min_recall: float = 0.99


@dataclass(frozen=True, slots=True)
class _Finding:
    """What comparing the pairs of a set gave; `compared` is the number of pairs that counted."""

    compared: int
    good: bool
    detail: str


def compare(recorded: GoldenSet, replayed: GoldenSet, tolerance: Tolerance) -> Check:
    """Return the check of one golden: every question answered again, and as recorded.

    It failed when a compared answer is not good enough; otherwise it is unproven when the sets do
    not belong together, when a question is missing, or when nothing could be compared.
    """
    verdict, detail = _judge(recorded, replayed, tolerance)
    return Check(f"golden:{recorded.name}", recorded.source, verdict, detail)


def same_identity(one: EngineIdentity, other: EngineIdentity) -> bool:
    """Whether the same engine answered on the same kind of device, as far as all is known."""
    told = (one.engine, one.version, one.device, one.dtype)
    return one == other and UNKNOWN not in told


def agreement(one: Sequence[object], other: Sequence[object]) -> tuple[int, int]:
    """Return how many positions hold the same item, and how many positions there are.

    The longer sequence counts: a position that only one of them has is a disagreement.
    """
    equal = sum(a == b for a, b in zip(one, other, strict=False))
    return equal, max(len(one), len(other))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of two vectors: exactly 1 for equal ones.

    It is NaN when there is no angle: other dimensions, a length of 0, numbers that are not finite.
    """
    lengths = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or not math.isfinite(lengths) or lengths == 0:
        return math.nan
    if tuple(one) == tuple(other):
        return 1.0
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


def _judge(recorded: GoldenSet, replayed: GoldenSet, tolerance: Tolerance) -> tuple[Verdict, str]:
    if obstacle := _obstacle(recorded, replayed):
        return Verdict.UNPROVEN, obstacle
    pairs, unmatched = _pair(recorded.records, replayed.records)
    finding = _find(pairs, recorded, replayed, tolerance)
    detail = "; ".join(part for part in (finding.detail, unmatched) if part)
    if finding.compared == 0:
        return Verdict.UNPROVEN, f"nothing was compared: {detail or 'no question was recorded'}"
    if not finding.good:
        return Verdict.FAILED, detail
    return Verdict.UNPROVEN if unmatched else Verdict.PROVEN, detail


def _obstacle(recorded: GoldenSet, replayed: GoldenSet) -> str:
    """Return why the sets cannot be compared at all; empty when they can."""
    if (recorded.name, recorded.kind) != (replayed.name, replayed.kind):
        return (
            f"recorded is the {recorded.kind} golden {recorded.name}, "
            f"replayed the {replayed.kind} golden {replayed.name}"
        )
    if not recorded.model_sha256 or recorded.model_sha256 != replayed.model_sha256:
        return (
            f"recorded with the model {recorded.model_sha256[:12] or UNKNOWN}, "
            f"replayed with {replayed.model_sha256[:12] or UNKNOWN}: not the same model"
        )
    if dict(recorded.parameters) != dict(replayed.parameters):
        return (
            f"recorded with {dict(recorded.parameters)}, replayed with {dict(replayed.parameters)}"
        )
    return ""


def _pair(recorded: Sequence[Record], replayed: Sequence[Record]) -> tuple[list[Pair], str]:
    """Match records by question, equal questions in order; say what found no partner."""
    waiting: dict[str, list[Record]] = {}
    for record in reversed(replayed):
        waiting.setdefault(record.question, []).append(record)
    pairs = [
        (record, waiting[record.question].pop())
        for record in recorded
        if waiting.get(record.question)
    ]
    missing, extra = len(recorded) - len(pairs), len(replayed) - len(pairs)
    told = [f"not replayed: {missing} of {len(recorded)} questions"] if missing else []
    told += [f"replayed but not recorded: {extra} of {len(replayed)} questions"] if extra else []
    return pairs, ", ".join(told)


def _find(
    pairs: list[Pair], recorded: GoldenSet, replayed: GoldenSet, tolerance: Tolerance
) -> _Finding:
    if recorded.kind is Kind.EMBEDDING:
        return _find_embeddings(_of(EmbeddingRecord, pairs), tolerance.min_cosine)
    if recorded.kind is Kind.NEIGHBOURS:
        k = int(recorded.parameters.get("k", 0))
        return _find_neighbours(_of(NeighboursRecord, pairs), k, tolerance.min_recall)
    completions = _of(CompletionRecord, pairs)
    if same_identity(recorded.engine, replayed.engine):
        return _find_exact(completions)
    others = f"recorded by {_told(recorded.engine)}, replayed by {_told(replayed.engine)}"
    return _find_close(completions, tolerance.min_agreement, others)


def _of(kind: type[R], pairs: list[Pair]) -> list[tuple[R, R]]:
    return [
        (one, other) for one, other in pairs if isinstance(one, kind) and isinstance(other, kind)
    ]


def _find_exact(pairs: list[tuple[CompletionRecord, CompletionRecord]]) -> _Finding:
    positions = sum(agreement(*_answers(one, other))[1] for one, other in pairs)
    differing = [
        place
        for place, (one, other) in enumerate(pairs, start=1)
        if (one.tokens, one.text) != (other.tokens, other.text)
    ]
    where = "on the same engine and device"
    if not differing:
        compared = f"{positions} {_unit(pairs)}"
        detail = f"{len(pairs)} of {len(pairs)} answers are the same {where} ({compared})"
        return _Finding(positions, True, detail)
    detail = (
        f"{len(differing)} of {len(pairs)} answers differ {where}; the first is answer "
        f"{differing[0]}, {_difference(*pairs[differing[0] - 1])}"
    )
    return _Finding(positions, False, detail)


def _find_close(
    pairs: list[tuple[CompletionRecord, CompletionRecord]], demanded: float, others: str
) -> _Finding:
    shares = [agreement(*_answers(one, other)) for one, other in pairs]
    equal, positions = (sum(column) for column in zip((0, 0), *shares, strict=True))
    if positions == 0:
        return _Finding(0, False, f"all answers are empty; {others}")
    share = equal / positions
    same = sum(a == b for a, b in shares)
    detail = (
        f"agreement {_floor(share)} ({equal} of {positions} {_unit(pairs)}, at least {demanded:g} "
        f"demanded), {same} of {len(pairs)} answers are the same; {others}"
    )
    return _Finding(positions, share >= demanded, detail)


def _find_embeddings(
    pairs: list[tuple[EmbeddingRecord, EmbeddingRecord]], demanded: float
) -> _Finding:
    if not pairs:
        return _Finding(0, False, "")
    cosines = [cosine(one.vector, other.vector) for one, other in pairs]
    incomparable = sum(map(math.isnan, cosines))
    same = sum(encode_vector(one.vector) == encode_vector(other.vector) for one, other in pairs)
    lowest = min((value for value in cosines if not math.isnan(value)), default=math.nan)
    detail = (
        f"lowest cosine {_floor(lowest)} over {len(pairs)} vectors (at least {demanded:g} "
        f"demanded), {same} of {len(pairs)} are the same to the last bit"
    )
    if incomparable:
        detail += f", {incomparable} of {len(pairs)} cannot be compared (dimension, or no length)"
    return _Finding(len(pairs), incomparable == 0 and lowest >= demanded, detail)


def _find_neighbours(
    pairs: list[tuple[NeighboursRecord, NeighboursRecord]], k: int, demanded: float
) -> _Finding:
    found = [(one.ids, other.ids) for one, other in pairs if one.ids]
    if not found:
        return _Finding(0, False, f"no neighbours were recorded for {len(pairs)} queries")
    recalls = [len(set(one) & set(other)) / len(set(one)) for one, other in found]
    mean = math.fsum(recalls) / len(recalls)
    ordered = sum(one == other for one, other in found)
    detail = (
        f"recall@{k} {_floor(mean)} over {len(found)} queries (at least {demanded:g} demanded), "
        f"lowest {_floor(min(recalls))}, {ordered} of {len(found)} in the same order"
    )
    return _Finding(len(found), mean >= demanded, detail)


def _answers(
    one: CompletionRecord, other: CompletionRecord
) -> tuple[Sequence[object], Sequence[object]]:
    """Return the tokens of both, or their texts when one of them tells no tokens."""
    if one.tokens and other.tokens:
        return one.tokens, other.tokens
    return one.text, other.text


def _unit(pairs: list[tuple[CompletionRecord, CompletionRecord]]) -> str:
    by_token = {bool(one.tokens and other.tokens) for one, other in pairs}
    if len(by_token) > 1:
        return "tokens and characters"
    return "tokens" if by_token == {True} else "characters"


def _difference(one: CompletionRecord, other: CompletionRecord) -> str:
    first, second = _answers(one, other)
    if first == second:
        return "with the same tokens but another text"
    places = (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    begin = next(places, min(len(first), len(second)))
    return f"from {_unit([(one, other)])[:-1]} {begin + 1} on"


def _floor(share: float) -> str:
    """Return four decimals, cut and not rounded: what is not quite 1 must not read as 1."""
    return "none" if math.isnan(share) else f"{math.floor(share * 10_000) / 10_000:.4f}"


def _told(identity: EngineIdentity) -> str:
    return f"{identity.version} {identity.dtype} on {identity.device}"
