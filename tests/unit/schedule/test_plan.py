"""Which run is due: once, also after an outage, a death, or a clock that was wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llmvault.policy.jobs import BackupJob, next_to_drill
from llmvault.policy.model import Policy
from llmvault.schedule.findings import of_jobs, overdue_since
from llmvault.schedule.model import Due, Outcome, Run, Seen, Window
from llmvault.schedule.plan import due, jobs_of
from tests.fakes.jobs import job

NIGHTLY = job("0 2 * * *")
DECLARED = datetime(2026, 5, 1, 12, tzinfo=UTC)
NIGHT = datetime(2026, 5, 2, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def ran(outcome: Outcome, *, at: datetime = NIGHT, attempt: int = 1) -> Run:
    return Run(
        "nightly", "backup", "gpu-1", "gpu-1", at, at, at + timedelta(minutes=5), attempt, outcome
    )


def test_a_new_job_waits_for_its_first_time() -> None:
    assert due(NIGHTLY, Seen(DECLARED), DECLARED + HOUR) is None
    assert due(NIGHTLY, Seen(DECLARED), NIGHT) == Due(NIGHT, 1, 0)


def test_what_ran_is_not_run_again() -> None:
    seen = Seen(DECLARED, (ran(Outcome.PROVEN),))
    assert due(NIGHTLY, seen, NIGHT + 23 * HOUR) is None
    assert due(NIGHTLY, seen, NIGHT + DAY) == Due(NIGHT + DAY, 1, 0)
    running = Seen(DECLARED, (ran(Outcome.RUNNING),))
    assert due(NIGHTLY, running, NIGHT + DAY) is None


def test_missed_times_are_caught_up_once() -> None:
    seen = Seen(DECLARED, (ran(Outcome.PROVEN),))
    assert due(NIGHTLY, seen, NIGHT + 9 * DAY + HOUR) == Due(NIGHT + 9 * DAY, 1, 8)


@pytest.mark.parametrize("outcome", [Outcome.DIED, Outcome.INTERRUPTED])
def test_a_run_that_died_is_run_again_but_not_for_ever(outcome: Outcome) -> None:
    assert due(NIGHTLY, Seen(DECLARED, (ran(outcome),)), NIGHT + HOUR) == Due(NIGHT, 2, 0)
    assert due(NIGHTLY, Seen(DECLARED, (ran(outcome, attempt=3),)), NIGHT + HOUR) is None


def test_unavailable_is_retried_with_growing_waits() -> None:
    wait = timedelta(minutes=5)
    for attempt, factor in ((1, 1), (2, 2), (3, 4)):
        seen = Seen(DECLARED, (ran(Outcome.UNAVAILABLE, attempt=attempt),))
        ready = NIGHT + wait + wait * factor
        assert due(NIGHTLY, seen, ready - timedelta(seconds=1)) is None
        assert due(NIGHTLY, seen, ready) == Due(NIGHT, attempt + 1, 0)
    assert (
        due(NIGHTLY, Seen(DECLARED, (ran(Outcome.UNAVAILABLE, attempt=4),)), NIGHT + HOUR) is None
    )
    assert due(NIGHTLY, Seen(DECLARED, (ran(Outcome.UNAVAILABLE, attempt=4),)), NIGHT + DAY)


def test_a_failure_waits_for_the_next_time() -> None:
    for outcome in (Outcome.FAILED, Outcome.UNPROVEN, Outcome.HUNG, Outcome.WRONG):
        assert due(NIGHTLY, Seen(DECLARED, (ran(outcome),)), NIGHT + HOUR) is None


def test_a_clock_that_was_a_day_ahead_hides_nothing() -> None:
    early = replace(ran(Outcome.PROVEN, at=NIGHT + DAY), started=NIGHT + DAY + 8 * HOUR)
    seen = Seen(DECLARED, (ran(Outcome.PROVEN), early))
    right = NIGHT + DAY
    assert due(NIGHTLY, seen, right) == Due(right, 1, 0)


def test_a_clock_put_back_an_hour_doubles_nothing() -> None:
    seen = Seen(DECLARED, (ran(Outcome.PROVEN),))
    assert due(NIGHTLY, seen, NIGHT - HOUR) is None
    assert due(NIGHTLY, seen, NIGHT) is None


def test_outside_its_window_a_run_waits() -> None:
    window = Window(4 * 60, 6 * 60, frozenset(range(7)), ZoneInfo("UTC"))
    late = replace(NIGHTLY, only_in=(window,))
    assert due(late, Seen(DECLARED), NIGHT + HOUR) is None
    assert due(late, Seen(DECLARED), NIGHT + 2 * HOUR) == Due(NIGHT, 1, 0)
    assert overdue_since(late, Seen(DECLARED), NIGHT + 2 * HOUR) is None
    assert overdue_since(late, Seen(DECLARED), NIGHT + 4 * HOUR) == NIGHT


def test_overdue_begins_after_the_grace_and_ends_with_a_run() -> None:
    assert overdue_since(NIGHTLY, Seen(DECLARED), NIGHT + HOUR / 2) is None
    assert overdue_since(NIGHTLY, Seen(DECLARED), NIGHT + 2 * HOUR) == NIGHT
    for outcome, expected in ((Outcome.PROVEN, None), (Outcome.UNAVAILABLE, NIGHT)):
        seen = Seen(DECLARED, (ran(outcome),))
        assert overdue_since(NIGHTLY, seen, NIGHT + 2 * HOUR) == expected
    hung = Seen(DECLARED, (ran(Outcome.HUNG),))
    kinds = {one.kind for one in of_jobs([NIGHTLY], {"nightly": hung}, NIGHT + 2 * HOUR)}
    assert kinds == {"backup-hung", "overdue"}


def test_jobs_come_from_the_policy_alone() -> None:
    policy = Policy.model_validate(
        {
            "plans": {
                "nightly": {"sources": ["a"], "repositories": ["b"], "schedule": "0 2 * * *"}
            },
            "windows": {"quiet": {"start": "22:00", "end": "06:00", "days": ["fri"]}},
            "jobs": {"drills": {"kind": "drill", "every": "7d", "only_in": ["quiet"]}},
        }
    )
    plain, drills = jobs_of(policy, "gpu-1")
    assert (plain.name, plain.owner, plain.config) == (
        "backup-nightly",
        "gpu-1",
        BackupJob(kind="backup", at="0 2 * * *", plans=("nightly",)),
    )
    assert drills.only_in == (Window(22 * 60, 6 * 60, frozenset({4}), ZoneInfo("UTC")),)
    assert jobs_of(policy, "gpu-1") == (plain, drills)


def test_plans_take_turns_in_drills() -> None:
    plans = ("a", "b", "c")
    assert next_to_drill(plans, {"a": NIGHT}) == "b"
    drilled = {"a": NIGHT, "b": NIGHT - DAY, "c": NIGHT + DAY}
    assert next_to_drill(plans, drilled) == "b"
