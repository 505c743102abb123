"""A drill in plain sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.verdict import Check, Verdict
from llmvault.drill.model import Objective, Phases
from llmvault.drill.wording import (
    decisive_check,
    group_checks,
    headline,
    other_shortfalls,
    share_words,
    spoken_duration,
)
from tests.fakes import drills


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (0, "0 s"),
        (0.0004, "under 0.01 s"),
        (0.423, "0.42 s"),
        (3.14159, "3.14 s"),
        (41.23, "41.2 s"),
        (59.97, "1 min"),
        (245, "4 min 5 s"),
        (900, "15 min"),
        (3_599.6, "1 h"),
        (11_220, "3 h 7 min"),
        (86_400, "24 h"),
        (187_200, "2 days 4 h"),
        (-5, "minus 5 s"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, spoken: str) -> None:
    assert spoken_duration(seconds) == spoken


@given(st.floats(-1e9, 1e9))
def test_every_duration_is_short_and_without_powers_of_ten(seconds: float) -> None:
    spoken = spoken_duration(seconds)
    assert len(spoken) < 30
    assert "e+" not in spoken
    assert "e-" not in spoken


def test_a_drill_whose_plan_answers_nothing_was_verified() -> None:
    result = replace(drills.proven(), phases=Phases(fetch=1.0, verify=1.0, total=2.0))
    assert "was restored and verified in 41.2 s" in headline(result)


def test_a_stale_recovery_point_is_in_the_sentence() -> None:
    result = replace(drills.proven(), rpo=Objective(60.0, 61.0))
    assert headline(result).endswith(
        "but the newest recovery point was older than its own objective allows."
    )


def test_a_missed_objective_without_a_check_is_the_reason() -> None:
    late = replace(drills.failed(), checks=drills.CHECKS)
    assert decisive_check(late) is None
    assert headline(late) == "Failed: recovery took 20 min 40 s; the objective is 15 min."
    old = replace(late, rto=Objective(900.0, 1.0), rpo=Objective(60.0, 120.0))
    assert headline(old) == (
        "Failed: the newest recovery point was older than promised, 2 min; the objective is 1 min."
    )


def test_what_is_not_proven_is_counted_once() -> None:
    failed = Check("digests", "a", Verdict.FAILED, "")
    unproven = Check("tree", "a", Verdict.UNPROVEN, "")
    result = replace(drills.failed(), checks=(failed, unproven, unproven, failed))
    assert other_shortfalls(result) == "1 other check failed and 2 checks could not be made."
    alone = replace(result, checks=(failed,))
    assert other_shortfalls(alone) == ""
    waiting = replace(drills.unproven(), checks=(unproven, unproven))
    assert other_shortfalls(waiting) == "1 other check could not be made."
    assert other_shortfalls(drills.proven()) == ""


@given(
    st.lists(
        st.builds(
            Check,
            st.sampled_from("abc"),
            st.sampled_from(["", "x", "y"]),
            st.sampled_from(Verdict),
            st.just(""),
        )
    )
)
def test_grouping_loses_no_check_and_puts_the_worst_first(checks: list[Check]) -> None:
    groups = group_checks(checks)
    worth = [Verdict.FAILED, Verdict.UNPROVEN, Verdict.PROVEN].index
    assert sorted(map(repr, (c for g in groups for c in g.checks))) == sorted(map(repr, checks))
    assert [worth(g.verdict) for g in groups] == sorted(worth(g.verdict) for g in groups)
    for group in groups:
        found = [worth(check.verdict) for check in group.checks]
        assert found == sorted(found)
        assert group.verdict is group.checks[0].verdict
        assert {check.source for check in group.checks} == {group.source}


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (Objective(900.0, 45.0), "5 % of the objective: 14 min 15 s to spare"),
        (Objective(900.0, 0.1), "under 0.1 % of the objective: 15 min to spare"),
        (Objective(10.0, 25.0), "2.5 times the objective: 15 s too long"),
        (Objective(10.0, None), ""),
        (Objective(0.0, 1.0), ""),
    ],
)
def test_a_measurement_is_compared_in_words(objective: Objective, told: str) -> None:
    assert share_words(objective) == told
