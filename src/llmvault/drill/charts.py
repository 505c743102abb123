"""Geometry of the report's charts: pure; the page draws it.

Horizontal positions are percentages of the drawing's width, so that text keeps its size on a phone;
vertical positions are pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from llmvault.drill.model import Objective, Phases

IN_VIEW = 4.0
"""An objective up to so many times the measurement is drawn to scale with it."""

PHASES = ("fetch", "verify", "load", "first_answer")
_OTHER_SHARE = 0.005
_NARROW_PERCENT = 5.0
_SHORTEST_AXIS = 1e-6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200)
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Meter:
    """A measurement and its objective as bars on one scale, in percent of the longer one."""

    measured: float
    objective: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis: its value in seconds and where it is drawn."""

    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One phase in the bar.

    Attributes:
        name: a phase, or ``other`` for time between the phases.
        seconds: None when the phase was not reached.
        share: percent of the total.
        wide: whether a figure fits into it.
    """

    name: str
    seconds: float | None
    x: float
    width: float
    share: float
    wide: bool


@dataclass(frozen=True, slots=True)
class PhaseBar:
    """The phases one after the other.

    Attributes:
        total: seconds; 0 when nothing was measured.
        objective_x: where the objective lies; None when it is too far off to be drawn.
    """

    total: float
    segments: tuple[Segment, ...]
    ticks: tuple[Tick, ...]
    objective_x: float | None


def meter(objective: Objective) -> Meter:
    """Return the two bars; the measured one has no length when nothing was measured."""
    measured = max(objective.measured_s or 0.0, 0.0)
    longer = max(measured, objective.objective_s)
    if longer <= 0:
        return Meter(0.0, 0.0)
    return Meter(_percent(measured, longer), _percent(objective.objective_s, longer))


def phase_bar(phases: Phases, objective_s: float) -> PhaseBar:
    """Return the bar of the phases, zoomed to the measurement unless the objective is near."""
    seconds = {name: getattr(phases, name) for name in PHASES}
    reached = sum(value for value in seconds.values() if value is not None)
    total = max(phases.total or 0.0, reached)
    if total - reached > _OTHER_SHARE * total:
        seconds["other"] = total - reached
    near = 0 < objective_s <= IN_VIEW * total
    axis = max(total, objective_s) if near else total
    return PhaseBar(
        total=total,
        segments=tuple(_segments(seconds, total, axis)),
        ticks=tuple(Tick(value, _percent(value, axis)) for value in tick_values(axis)),
        objective_x=_percent(objective_s, axis) if near else None,
    )


def _segments(seconds: dict[str, float | None], total: float, axis: float) -> Iterator[Segment]:
    x = 0.0
    for name, value in seconds.items():
        width = _percent(value or 0.0, axis)
        share = _percent(value or 0.0, total)
        yield Segment(name, value, round(x, 3), width, share, width >= _NARROW_PERCENT)
        x += width


def tick_values(limit: float, most: int = 5) -> tuple[float, ...]:
    """Return round values from 0 to at most `limit` seconds, not more than `most` above 0."""
    if limit < _SHORTEST_AXIS:
        return (0.0,)
    step = next(step for step in _steps(limit) if limit / step <= most)
    return tuple(index * step for index in range(math.floor(limit / step) + 1))


def _steps(limit: float) -> Iterator[float]:
    decade = 10.0 ** (math.floor(math.log10(limit)) - 2)
    while decade < 1:
        yield from (round(factor * decade, 12) for factor in (1, 2, 5) if factor * decade < 1)
        decade *= 10
    yield from _STEPS
    days = 1.0
    while True:
        yield from (factor * days * _DAY for factor in (1, 2, 5))
        days *= 10


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3) if whole > 0 else 0.0
