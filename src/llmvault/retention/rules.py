"""The keep rules, which mean exactly what restic's ``forget --keep-…`` means. Pure.

Within a period (an hour, a day …) restic keeps the newest snapshot. Here the one of which most is
known is kept, and the newest among equals; so where all are equal the two agree, which a
differential test holds us to. Periods are those of UTC, weeks those of ISO 8601.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from llmvault.retention.model import UNLIMITED, KeepRules, Point, Reason

_Key = Callable[[datetime], object]
_PERIODS: dict[str, _Key] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


def newest_first(points: Sequence[Point]) -> list[Point]:
    """Return points by time, the newest first."""
    return sorted(points, key=lambda point: (point.time, point.id), reverse=True)


def kept_by_rules(points: Sequence[Point], keep: KeepRules) -> Mapping[str, list[Reason]]:
    """Return point id -> the rules that keep it, of points of one plan and host."""
    ordered = newest_first(points)
    reasons: dict[str, list[Reason]] = {}

    def add(found: Iterator[tuple[Point, Reason]]) -> None:
        for point, reason in found:
            reasons.setdefault(point.id, []).append(reason)

    if not ordered:
        return reasons
    add(_by_tag(ordered, keep))
    add(_within(ordered, keep))
    for rule, count in keep.counts.items():
        add(_counted(ordered, rule, count))
    for rule, span in keep.within_by.items():
        period = rule.removeprefix("within_")
        beginning = span.before(ordered[0].time)
        inside = [point for point in ordered if point.time > beginning]
        oldest = ordered[-1] if inside and inside[-1] is ordered[-1] else None
        runs = list(_runs(inside, period))
        add(_representatives(runs, oldest, f"{period} within {span}"))
    return reasons


def has_tags(point: Point, wanted: frozenset[str]) -> bool:
    """Whether one of the point's snapshots has all of the tags."""
    return any(wanted <= tags for tags in point.tags)


def _by_tag(ordered: Sequence[Point], keep: KeepRules) -> Iterator[tuple[Point, Reason]]:
    for wanted in keep.tags:
        words = ",".join(sorted(wanted))
        for point in ordered:
            if has_tags(point, wanted):
                yield point, Reason("tag", f"has the tag {words}")


def _within(ordered: Sequence[Point], keep: KeepRules) -> Iterator[tuple[Point, Reason]]:
    if keep.within is None:
        return
    beginning = keep.within.before(ordered[0].time)
    for point in ordered:
        if point.time > beginning:
            yield point, Reason("within", f"within {keep.within} of the newest")


def _counted(ordered: Sequence[Point], rule: str, count: int) -> Iterator[tuple[Point, Reason]]:
    if rule == "last":
        newest = ordered if count == UNLIMITED else ordered[:count]
        for point in newest:
            yield point, Reason("last", "one of the last" if count != 1 else "the last")
        return
    runs = list(_runs(ordered, rule))
    left_over = count == UNLIMITED or len(runs) < count
    chosen = runs if count == UNLIMITED else runs[:count]
    yield from _representatives(chosen, ordered[-1] if left_over else None, rule)


def _runs(ordered: Sequence[Point], period: str) -> Iterator[list[Point]]:
    """Yield the points of each period, the newest period first."""
    key = _PERIODS[period]
    for _, run in groupby(ordered, key=lambda point: key(point.time)):
        yield list(run)


def _representatives(
    runs: Sequence[Sequence[Point]], oldest: Point | None, rule: str
) -> Iterator[tuple[Point, Reason]]:
    """Yield the best point of each run, and the oldest point of all while counts are left."""
    for run in runs:
        best = max(run, key=lambda point: point.rank)  # the first of equals, which is the newest
        yield best, Reason(rule, f"{rule}{_outranking(best, run[0])}")
        if oldest is not None and run[-1] is oldest and best is not oldest:
            yield oldest, Reason(f"oldest {rule}", f"the oldest, while {rule} has room")


def _outranking(best: Point, newest: Point) -> str:
    if best is newest:
        return ""
    return f", because it is {best.rank.words} and {newest.id} is {newest.rank.words}"
