"""How hosts of a fleet stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmvault.catalog.model import DrillEntry, HostEntry, NewestPoint
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.schedule.fleet import standings
from tests.fakes.fleet import START

NOW = START + timedelta(days=30)


def host(name: str = "gpu-1", *, seen: timedelta = timedelta()) -> HostEntry:
    promise = {"rpo_s": 86_400.0, "rto_s": 900.0, "sources": 50, "declared": format_time(START)}
    return HostEntry(
        name, NOW - seen, START, 60.0, "0.1.0", "d", {"nightly": promise}, {}, ({"kind": "x"},)
    )


def point(age: timedelta, verdict: str = "proven", name: str = "gpu-1") -> NewestPoint:
    return NewestPoint(name, "nightly", verdict, NOW - age)


def drill(age: timedelta, verdict: str = "proven", name: str = "gpu-1") -> DrillEntry:
    return DrillEntry(
        f"d-{age}", "nightly", "rp", NOW - age, verdict, 900.0, 300.0, 86_400.0, 1.0, {}, "", name
    )


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("points", "drills", "verdict"),
    [
        ([point(HOUR)], [drill(DAY)], Verdict.PROVEN),
        ([point(2 * DAY)], [drill(DAY)], Verdict.FAILED),
        ([point(2 * DAY), point(HOUR, "unproven")], [drill(DAY)], Verdict.FAILED),
        ([], [drill(DAY)], Verdict.FAILED),
        ([point(HOUR)], [], Verdict.UNPROVEN),
        ([point(HOUR)], [drill(2 * DAY), drill(DAY, "failed")], Verdict.FAILED),
        ([point(HOUR)], [drill(DAY), drill(2 * DAY, "failed")], Verdict.PROVEN),
        ([point(HOUR, name="gpu-2")], [drill(DAY)], Verdict.FAILED),
    ],
)
def test_a_host_keeps_its_promises_or_does_not(
    points: list[NewestPoint], drills: list[DrillEntry], verdict: Verdict
) -> None:
    (one,) = standings([host()], points, drills, NOW)
    assert one.verdict is verdict
    assert (one.silent, one.findings) == (False, 1)


def test_a_silent_host_is_not_proven_whatever_it_had() -> None:
    (one,) = standings([host(seen=HOUR)], [point(HOUR)], [drill(DAY)], NOW)
    assert one.silent
    assert one.verdict is Verdict.UNPROVEN
