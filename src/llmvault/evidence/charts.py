"""Geometry of the report's charts: pure; the page draws it.

Horizontal positions are percentages of the drawing's width, vertical ones are pixels, as in the
charts of a drill's report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from llmvault.core.verdict import Verdict
from llmvault.drill.charts import IN_VIEW, Tick, tick_values

_LEFT, _RIGHT = 1.5, 98.5
_BEYOND_Y, _TOP_Y, _BASE_Y, _UNMEASURED_Y = 12.0, 26.0, 130.0, 152.0
_DATES_HEIGHT = 26.0
_TICK_CLEARANCE = 15.0
_MOST_TICKS = 3
_MONTH_LABELS = 4
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement; `seconds` is None when there was none.

    Attributes:
        told: what it is, for people who point at it.
        marked: whether it is drawn as a mark of its verdict, or only as a corner of the line.
    """

    moment: datetime
    seconds: float | None
    verdict: Verdict
    objective_s: float
    told: str
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """A sample as it is drawn."""

    x: float
    y: float
    verdict: Verdict
    told: str
    seconds: float | None
    marked: bool


@dataclass(frozen=True, slots=True)
class Step:
    """The objective over a stretch of time."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Durations over a period, held against an objective.

    Attributes:
        line: neighbours among the measured marks.
        beyond: whether the newest objective lies above the scale.
        unmeasured_y: the row of samples without a measurement; None when there is none.
        missed: how many measurements are longer than their objective.
    """

    marks: tuple[Mark, ...]
    line: tuple[tuple[Mark, Mark], ...]
    objective: tuple[Step, ...]
    objective_s: float
    objective_y: float
    beyond: bool
    ticks: tuple[Tick, ...]
    base_y: float
    unmeasured_y: float | None
    dates: tuple[tuple[str, float], ...]
    height: float
    missed: int


def time_chart(samples: Sequence[Sample], begin: datetime, end: datetime) -> TimeChart | None:
    """Return the chart of samples in a period; None when there are none."""
    if not samples:
        return None
    ordered = sorted(samples, key=lambda one: one.moment)
    limit = _limit(ordered)
    marks = tuple(
        Mark(
            _x(one.moment, begin, end),
            _UNMEASURED_Y if one.seconds is None else _y(one.seconds, limit),
            one.verdict,
            one.told,
            one.seconds,
            one.marked,
        )
        for one in ordered
    )
    unmeasured = any(one.seconds is None for one in ordered)
    newest = ordered[-1].objective_s
    objective_y = _y(newest, limit)
    return TimeChart(
        marks=marks,
        line=tuple(pairwise(mark for mark in marks if mark.seconds is not None)),
        objective=tuple(_steps(ordered, marks, limit)),
        objective_s=newest,
        objective_y=objective_y,
        beyond=newest > limit,
        ticks=tuple(
            Tick(value, _y(value, limit))
            for value in tick_values(limit, _MOST_TICKS)
            if abs(_y(value, limit) - objective_y) >= _TICK_CLEARANCE
        ),
        base_y=_BASE_Y,
        unmeasured_y=_UNMEASURED_Y if unmeasured else None,
        dates=_dates(begin, end),
        height=(_UNMEASURED_Y if unmeasured else _BASE_Y) + _DATES_HEIGHT,
        missed=sum(
            1 for one in ordered if one.seconds is not None and one.seconds > one.objective_s
        ),
    )


def _limit(samples: Sequence[Sample]) -> float:
    longest = max((one.seconds or 0.0 for one in samples), default=0.0)
    near = [one.objective_s for one in samples if one.objective_s <= IN_VIEW * longest]
    return max(longest, *near, 0.0) or max(one.objective_s for one in samples) or 1.0


def _y(seconds: float, limit: float) -> float:
    if seconds > limit:
        return _BEYOND_Y
    return round(_BASE_Y - max(seconds, 0.0) / limit * (_BASE_Y - _TOP_Y), 1)


def _x(moment: datetime, begin: datetime, end: datetime) -> float:
    if end <= begin:
        return 50.0
    share = min(max((moment - begin) / (end - begin), 0.0), 1.0)
    return round(_LEFT + (_RIGHT - _LEFT) * share, 2)


def _steps(samples: Sequence[Sample], marks: Sequence[Mark], limit: float) -> Iterator[Step]:
    begin = 0.0
    for index, one in enumerate(samples):
        following = samples[index + 1].objective_s if index + 1 < len(samples) else None
        if one.objective_s != following:
            end = 100.0 if following is None else marks[index + 1].x
            yield Step(begin, end, _y(one.objective_s, limit))
            begin = end


def _dates(begin: datetime, end: datetime) -> tuple[tuple[str, float], ...]:
    moments = [begin + (end - begin) * index / _MONTH_LABELS for index in range(_MONTH_LABELS + 1)]
    return tuple((f"{moment:%Y-%m-%d}", _x(moment, begin, end)) for moment in moments)


@dataclass(frozen=True, slots=True)
class Cell:
    """One stretch of days in a strip; `verdict` is None when nothing happened in it."""

    x: float
    width: float
    verdict: Verdict | None
    told: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The worst verdict of each stretch of a period.

    Attributes:
        days: how many days a cell stands for.
    """

    cells: tuple[Cell, ...]
    days: int


_MOST_CELLS = 100
_WORST = (Verdict.FAILED, Verdict.UNPROVEN, Verdict.PROVEN)


def strip(happened: Sequence[tuple[datetime, Verdict]], begin: datetime, end: datetime) -> Strip:
    """Return the verdicts of a period, a cell a day, or of more days when there are many."""
    count = max(1, -(-(end - begin) // _DAY))
    days = -(-count // _MOST_CELLS)
    cells = -(-count // days)
    found: dict[int, list[Verdict]] = {}
    for moment, verdict in happened:
        found.setdefault(int((moment - begin) / _DAY) // days, []).append(verdict)
    width = 100 / cells
    return Strip(
        tuple(
            _cell(index, width, found.get(index, []), begin + index * days * _DAY)
            for index in range(cells)
        ),
        days,
    )


def _cell(index: int, width: float, verdicts: Sequence[Verdict], day: datetime) -> Cell:
    worst = next((one for one in _WORST if one in verdicts), None)
    told = f"{day:%Y-%m-%d}: " + (f"{len(verdicts)} runs, {worst}" if worst else "nothing")
    return Cell(round(index * width, 3), round(width * 0.84, 3), worst, told)
