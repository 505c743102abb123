"""How hosts of a fleet stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmvault.catalog.model import HostToday, NewestDrill, NewestPoint
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.schedule.fleet import HostStanding, for_people, standings
from tests.fakes.fleet import START

NOW = START + timedelta(days=30)


def host(name: str = "gpu-1", *, seen: timedelta = timedelta(), findings: int = 0) -> HostToday:
    promise = {"rpo_s": 86_400.0, "rto_s": 900.0, "sources": 50, "declared": format_time(START)}
    return HostToday(name, NOW - seen, 60.0, "0.1.0", {"nightly": promise}, findings)


def point(age: timedelta, verdict: str = "proven", name: str = "gpu-1") -> NewestPoint:
    return NewestPoint(name, "nightly", verdict, NOW - age)


def drill(verdict: str = "proven", name: str = "gpu-1") -> NewestDrill:
    return NewestDrill(name, "nightly", verdict, 300.0)


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("points", "drills", "verdict"),
    [
        ([point(HOUR)], [drill()], Verdict.PROVEN),
        ([point(2 * DAY)], [drill()], Verdict.FAILED),
        ([point(2 * DAY), point(HOUR, "unproven")], [drill()], Verdict.FAILED),
        ([], [drill()], Verdict.FAILED),
        ([point(HOUR)], [], Verdict.UNPROVEN),
        ([point(HOUR)], [drill("failed")], Verdict.FAILED),
        ([point(HOUR)], [drill(name="gpu-2")], Verdict.UNPROVEN),
        ([point(HOUR, name="gpu-2")], [drill()], Verdict.FAILED),
    ],
)
def test_a_host_keeps_its_promises_or_does_not(
    points: list[NewestPoint], drills: list[NewestDrill], verdict: Verdict
) -> None:
    (one,) = standings([host(findings=1)], points, drills, NOW)
    assert one.verdict is verdict
    assert (one.silent, one.findings) == (False, 1)


def test_a_silent_host_is_not_proven_whatever_it_had() -> None:
    (one,) = standings([host(seen=HOUR)], [point(HOUR)], [drill()], NOW)
    assert one.silent
    assert one.verdict is Verdict.UNPROVEN


def fleet(well: int, **bad: str) -> tuple[HostStanding, ...]:
    """Return that many hosts that are well, and named ones whose drills ended badly."""
    names = [f"gpu-{number:03}" for number in range(well)]
    return standings(
        [host(name, findings=name == "gpu-007") for name in [*names, *bad]],
        [point(HOUR, name=name) for name in [*names, *bad]],
        [drill(bad.get(name, "proven"), name) for name in [*names, *bad]],
        NOW,
    )


def test_of_a_few_hosts_people_see_all_of_many_those_with_problems() -> None:
    few = fleet(49, z="failed")
    assert for_people(few) == (few, ())
    shown, others = for_people(fleet(300, y="unproven", z="failed"))
    assert [one.host for one in shown] == ["z", "y", "gpu-007"], "the worst first"
    assert len(others) == 299
    assert {one.verdict for one in others} == {Verdict.PROVEN}


def test_of_very_many_hosts_with_problems_people_see_the_worst() -> None:
    bad = {f"bad-{number}": "unproven" for number in range(200)}
    shown, others = for_people(fleet(10, **bad, z="failed"))
    assert (shown[0].host, len(shown), len(others)) == ("z", 100, 111)
    assert len({one.host for one in (*shown, *others)}) == 211, "each is in one of them"
