"""What is found wrong with repositories and the ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmvault.catalog.model import ProofEntry
from llmvault.copies.model import Coverage
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.schedule.findings import of_drills, of_ledger, of_locks, of_verification
from llmvault.schedule.model import Outcome, Run, Seen
from tests.fakes.fleet import START
from tests.fakes.jobs import job

NOW = START + timedelta(days=60)
DAY = timedelta(days=1)


def proof(lapses_in: timedelta, verdict: str = "proven", reason: str = "") -> ProofEntry:
    facts = {"earliest": format_time(NOW + lapses_in), "reason": reason}
    return ProofEntry("p", "lock", "primary", NOW, verdict, facts)


@pytest.mark.parametrize(
    ("known", "kinds"),
    [
        (None, ["lock-unknown"]),
        (proof(20 * DAY), []),
        (proof(6 * DAY), ["lock-lapses"]),
        (proof(-DAY), ["lock-lapses"]),
        (proof(20 * DAY, "failed", "3 objects are not locked"), ["lock-missing"]),
    ],
)
def test_locks(known: ProofEntry | None, kinds: list[str]) -> None:
    proofs = {"primary": known} if known else {}
    found = list(of_locks({"primary": 15 * DAY}, proofs, NOW))
    assert [one.kind for one in found] == kinds
    assert all("primary" in one.message and one.next_step for one in found)


@pytest.mark.parametrize(
    ("covered", "since", "kinds"),
    [
        (Coverage(30, 30, NOW, (), 1, 0, Verdict.PROVEN), 40, []),
        (Coverage(30, 10, None, (), 11, 0, Verdict.UNPROVEN), 10, []),
        (Coverage(30, 10, None, (), 11, 0, Verdict.UNPROVEN), 40, ["verification-behind"]),
        (Coverage(30, 29, NOW, (3,), 3, 0, Verdict.UNPROVEN), 40, ["verification-behind"]),
        (Coverage(30, 30, NOW, (), 1, 2, Verdict.FAILED), 40, ["verification-errors"]),
    ],
)
def test_verification(covered: Coverage, since: int, kinds: list[str]) -> None:
    found = of_verification({"r": covered}, {"r": NOW - since * DAY}, {"r": 30 * DAY}, NOW)
    assert [one.kind for one in found] == kinds


def test_the_ledger_is_pinned_outside_or_it_is_told() -> None:
    pins = job("0 * * * *", name="pins", kind="ledger_pin")

    def seen(outcome: Outcome) -> dict[str, Seen]:
        run = Run("pins", "ledger_pin", "gpu-1", "gpu-1", NOW, NOW, NOW, 1, outcome)
        return {"pins": Seen(START, (run,))}

    for outcome, outside, found in (
        (Outcome.PROVEN, True, 0),
        (Outcome.PROVEN, False, 1),
        (Outcome.UNPROVEN, True, 1),
    ):
        told = list(of_ledger([pins], seen(outcome), "gpu-1", kept_outside=outside))
        assert [one.kind for one in told] == ["ledger-not-pinned"] * found


def test_sources_that_no_drill_came_to_are_named() -> None:
    class Config:
        plans = ()
        each_source_within = 30 * DAY

    drills = job("0 4 * * sun", name="drills", kind="drill", config=Config())
    plans = {"nightly": ("a", "b"), "weekly": ("b", "c")}
    seen = {"drills": Seen(START)}

    def late(**looked_at: int) -> list[str]:
        times = {plan: NOW - days * DAY for plan, days in looked_at.items()}
        return [one.message for one in of_drills([drills], plans, times, NOW, seen)]

    assert late(nightly=3, weekly=10) == []
    (message,) = late(nightly=3, weekly=40)
    assert message.endswith("not so: c"), "b is in a plan that was drilled"
    assert late()[0].endswith("not so: a, b, c")
    seldom = job("0 4 1 * *", name="drills", kind="drill", config=Config())
    (rare,) = of_drills([seldom], plans, {"nightly": NOW, "weekly": NOW}, NOW, seen)
    assert "2 plans take turns" in rare.message
