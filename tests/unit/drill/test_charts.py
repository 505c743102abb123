"""The geometry of the charts stays inside the drawing, whatever was measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.drill.charts import meter, phase_bar, tick_values
from llmvault.drill.history import MOST, History, history_of
from llmvault.drill.model import Objective, Phases
from tests.fakes import drills

DURATIONS = st.floats(0, 1e7)


def test_the_bar_is_zoomed_to_the_phases_when_the_objective_is_far() -> None:
    bar = phase_bar(Phases(30.0, 10.0, 5.0, 5.0, 50.0), 50_000.0)
    assert bar.objective_x is None
    assert [(s.name, s.x, s.width) for s in bar.segments] == [
        ("fetch", 0.0, 60.0),
        ("verify", 60.0, 20.0),
        ("load", 80.0, 10.0),
        ("first_answer", 90.0, 10.0),
    ]


def test_a_near_objective_stretches_the_scale() -> None:
    bar = phase_bar(Phases(30.0, 10.0, 5.0, 5.0, 50.0), 100.0)
    assert bar.objective_x == 100.0
    assert bar.segments[0].width == 30.0


def test_an_exceeded_objective_lies_inside_the_bar() -> None:
    bar = phase_bar(Phases(300.0, 100.0, 50.0, 50.0, 500.0), 50.0)
    assert bar.objective_x == 10.0
    assert bar.segments[-1].x + bar.segments[-1].width == pytest.approx(100.0)


def test_time_between_the_phases_is_told() -> None:
    bar = phase_bar(Phases(30.0, 10.0, 5.0, 5.0, 60.0), 1e6)
    assert (bar.segments[-1].name, bar.segments[-1].seconds) == ("other", 10.0)


def test_phases_that_were_not_reached_have_no_length() -> None:
    bar = phase_bar(Phases(fetch=2.0), 900.0)
    assert [s.seconds for s in bar.segments] == [2.0, None, None, None]
    assert [s.width for s in bar.segments] == [100.0, 0.0, 0.0, 0.0]
    assert phase_bar(Phases(), 900.0).total == 0


@given(st.tuples(*[st.none() | DURATIONS] * 5), st.floats(0, 1e8))
def test_the_bar_never_leaves_the_drawing(
    seconds: tuple[float | None, ...], objective: float
) -> None:
    bar = phase_bar(Phases(*seconds), objective)
    edges = [edge for s in bar.segments for edge in (s.x, s.x + s.width)]
    edges += [tick.at for tick in bar.ticks]
    edges += [] if bar.objective_x is None else [bar.objective_x]
    assert all(0 <= edge <= 100.01 for edge in edges)


@given(DURATIONS, st.none() | DURATIONS)
def test_the_longer_bar_of_a_meter_is_full(objective: float, measured: float | None) -> None:
    bars = meter(Objective(objective, measured))
    longest = max(objective, measured or 0.0)
    assert max(bars.measured, bars.objective) == (100.0 if longest > 0 else 0.0)
    assert min(bars.measured, bars.objective) >= 0


@given(st.floats(1e-6, 1e9), st.integers(1, 8))
def test_ticks_are_few_even_and_within_the_axis(limit: float, most: int) -> None:
    values = tick_values(limit, most)
    assert values[0] == 0
    assert values[-1] <= limit
    assert 1 <= len(values) <= most + 1


def positions(chart: History) -> list[float]:
    found = [point.x for point in chart.points] + [x for _, x in chart.dates]
    return found + [x for step in chart.objective for x in (step.x1, step.x2)]


@pytest.mark.parametrize("count", [0, 1, 2, 49, 200])
def test_every_drill_is_in_order_and_in_the_drawing(count: int) -> None:
    chart = history_of(drills.proven(), drills.past(count))
    assert len(chart.points) + chart.earlier == count + 1
    assert len(chart.points) <= MOST
    assert [p.started for p in chart.points] == sorted(p.started for p in chart.points)
    assert chart.points[-1].current
    assert all(0 <= x <= 100 for x in positions(chart))
    assert all(0 <= point.y <= chart.height for point in chart.points)
    assert chart.objective[0].x1 == 0
    assert chart.objective[-1].x2 == 100


def test_a_single_drill_stands_in_the_middle() -> None:
    chart = history_of(drills.proven(), ())
    assert [point.x for point in chart.points] == [50.0]
    assert chart.dates == (("2026-03-09 14:05", 50.0),)
    assert chart.trend == ()


def test_this_drill_is_counted_once_and_other_plans_not_at_all() -> None:
    past = drills.past(3)
    own = replace(past[0], id=drills.proven().id)
    foreign = replace(past[1], plan="another")
    chart = history_of(drills.proven(), (own, foreign, past[2]))
    assert [point.id for point in chart.points] == [past[2].id, drills.proven().id]


def test_drills_without_measurement_have_a_row_of_their_own() -> None:
    past = tuple(replace(entry, rto_measured_s=None) for entry in drills.past(2))
    chart = history_of(drills.proven(), past)
    assert chart.unmeasured_y is not None
    assert [point.y for point in chart.points[:2]] == [chart.unmeasured_y] * 2
    assert chart.unmeasured_y > chart.base_y
    assert chart.trend == ()


def test_nothing_measured_at_all_is_drawn_on_the_scale_of_the_objective() -> None:
    chart = history_of(drills.unproven(), ())
    assert not chart.beyond
    assert chart.objective_y < chart.base_y


def test_a_changed_objective_is_a_step() -> None:
    past = tuple(replace(entry, rto_objective_s=60.0) for entry in drills.past(2))
    result = replace(drills.proven(), rto=Objective(50.0, 41.2))
    chart = history_of(result, past)
    assert [(step.x1, step.x2) for step in chart.objective] == [(0.0, 97.0), (97.0, 100.0)]
    assert chart.objective[0].y < chart.objective[1].y


def test_a_far_objective_is_above_every_point() -> None:
    chart = history_of(drills.proven(), drills.past(5))
    assert chart.beyond
    assert chart.objective_y < min(point.y for point in chart.points)


def test_a_slower_drill_is_higher() -> None:
    fast, slow = (replace(drills.past(2)[i], rto_measured_s=s) for i, s in ((0, 10.0), (1, 30.0)))
    chart = history_of(drills.proven(), (fast, slow))
    heights = {point.seconds: point.y for point in chart.points}
    assert heights[41.2] < heights[30.0] < heights[10.0]


def test_drills_of_one_day_are_told_apart_by_time() -> None:
    chart = history_of(drills.proven(), drills.past(2, every=timedelta(hours=1)))
    assert next(text for text, _ in chart.dates) == "2026-03-09 12:05"
