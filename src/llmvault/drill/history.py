"""The chart of past drills: when, how long, which verdict, and the objective of that time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from llmvault.catalog.model import DrillEntry
from llmvault.core.verdict import Verdict
from llmvault.drill.charts import IN_VIEW, Tick, tick_values
from llmvault.drill.model import DrillResult

MOST = 50
_LEFT, _RIGHT = 3.0, 97.0
_BEYOND_Y, _TOP_Y, _BASE_Y, _UNMEASURED_Y = 14.0, 34.0, 190.0, 216.0
_DATES_HEIGHT = 30.0
_TICK_CLEARANCE = 16.0
_TIMES_OF_DAY_WITHIN = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Point:
    """One drill.

    Attributes:
        seconds: to the first answer; None when not measured.
        y: on the row of unmeasured drills, below the axis, when not measured.
        current: whether it is the drill that the page reports.
    """

    id: str
    started: datetime
    verdict: Verdict
    seconds: float | None
    rpo_seconds: float | None
    x: float
    y: float
    current: bool


@dataclass(frozen=True, slots=True)
class ObjectiveStep:
    """The objective as declared from one drill to the next."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True, slots=True)
class History:
    """The chart.

    Attributes:
        points: by time; at most the newest ``MOST``.
        trend: neighbours among the measured points, to be joined by a line.
        earlier: how many older drills are not drawn.
        objective_s, objective_y: the newest objective.
        beyond: whether it lies beyond the scale and is drawn at the upper edge.
        unmeasured_y: the row of drills without measurement; None when there is none.
        dates: text and position of the dates below.
    """

    points: tuple[Point, ...]
    trend: tuple[tuple[Point, Point], ...]
    earlier: int
    objective: tuple[ObjectiveStep, ...]
    objective_s: float
    objective_y: float
    beyond: bool
    ticks: tuple[Tick, ...]
    base_y: float
    unmeasured_y: float | None
    dates: tuple[tuple[str, float], ...]
    height: float


def history_of(result: DrillResult, entries: Sequence[DrillEntry]) -> History:
    """Return the chart of a plan's drills, this one among them.

    `entries` in any order; other plans' drills are left out, and this one is not counted twice.
    """
    others = [e for e in entries if e.plan == result.plan and e.id != result.id]
    drills = sorted([*map(_past, others), _present(result)], key=lambda drill: drill.started)
    shown = drills[-MOST:]
    scale = _Scale.of(shown)
    points = tuple(_point(drill, shown, scale) for drill in shown)
    unmeasured = any(drill.seconds is None for drill in shown)
    newest = shown[-1].objective_s
    objective_y = scale.y(newest)
    return History(
        points=points,
        trend=tuple(pairwise(point for point in points if point.seconds is not None)),
        earlier=len(drills) - len(shown),
        objective=tuple(_steps(shown, points, scale)),
        objective_s=newest,
        objective_y=objective_y,
        beyond=newest > scale.limit,
        ticks=tuple(_ticks(scale, objective_y)),
        base_y=_BASE_Y,
        unmeasured_y=_UNMEASURED_Y if unmeasured else None,
        dates=_dates(points),
        height=(_UNMEASURED_Y if unmeasured else _BASE_Y) + _DATES_HEIGHT,
    )


@dataclass(frozen=True, slots=True)
class _Drill:
    id: str
    started: datetime
    verdict: Verdict
    seconds: float | None
    rpo_seconds: float | None
    objective_s: float
    current: bool


def _past(entry: DrillEntry) -> _Drill:
    return _Drill(
        entry.id,
        entry.started,
        Verdict(entry.verdict),
        entry.rto_measured_s,
        entry.rpo_measured_s,
        entry.rto_objective_s,
        current=False,
    )


def _present(result: DrillResult) -> _Drill:
    return _Drill(
        result.id,
        result.started,
        result.verdict,
        result.rto.measured_s,
        result.rpo.measured_s,
        result.rto.objective_s,
        current=True,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Seconds to pixels; `limit` is the longest duration on the scale."""

    limit: float

    @classmethod
    def of(cls, drills: Sequence[_Drill]) -> _Scale:
        longest = max((drill.seconds or 0.0 for drill in drills), default=0.0)
        objectives = [drill.objective_s for drill in drills]
        near = [value for value in objectives if value <= IN_VIEW * longest]
        return cls(max(longest, *near, 0.0) or max(objectives))

    def y(self, seconds: float) -> float:
        if seconds > self.limit:
            return _BEYOND_Y
        share = max(seconds, 0.0) / self.limit if self.limit > 0 else 0.0
        return round(_BASE_Y - share * (_BASE_Y - _TOP_Y), 1)


def _point(drill: _Drill, shown: Sequence[_Drill], scale: _Scale) -> Point:
    return Point(
        id=drill.id,
        started=drill.started,
        verdict=drill.verdict,
        seconds=drill.seconds,
        rpo_seconds=drill.rpo_seconds,
        x=_x(drill.started, shown[0].started, shown[-1].started),
        y=_UNMEASURED_Y if drill.seconds is None else scale.y(drill.seconds),
        current=drill.current,
    )


def _x(moment: datetime, first: datetime, last: datetime) -> float:
    if first == last:
        return 50.0
    return round(_LEFT + (_RIGHT - _LEFT) * ((moment - first) / (last - first)), 2)


def _steps(
    drills: Sequence[_Drill], points: Sequence[Point], scale: _Scale
) -> Iterator[ObjectiveStep]:
    begin = 0.0
    for index, drill in enumerate(drills):
        following = drills[index + 1].objective_s if index + 1 < len(drills) else None
        if drill.objective_s != following:
            end = 100.0 if following is None else points[index + 1].x
            yield ObjectiveStep(begin, end, scale.y(drill.objective_s))
            begin = end


def _ticks(scale: _Scale, objective_y: float) -> Iterator[Tick]:
    for value in tick_values(scale.limit):
        y = scale.y(value)
        if abs(y - objective_y) >= _TICK_CLEARANCE:
            yield Tick(value, y)


def _dates(points: Sequence[Point]) -> tuple[tuple[str, float], ...]:
    first, last = points[0].started, points[-1].started
    form = "%Y-%m-%d %H:%M" if last - first < _TIMES_OF_DAY_WITHIN else "%Y-%m-%d"
    moments = [first] if first == last else [first, first + (last - first) / 2, last]
    return tuple(
        (moment.astimezone(UTC).strftime(form), _x(moment, first, last)) for moment in moments
    )
