"""How the hosts of a fleet stand against their promises. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmvault.core.units import parse_time
from llmvault.core.verdict import Verdict, combine
from llmvault.schedule.findings import BEATS_UNTIL_SILENT

if TYPE_CHECKING:
    from llmvault.catalog.model import DrillEntry, HostEntry, NewestPoint


@dataclass(frozen=True, slots=True)
class PlanStanding:
    """One plan of a host.

    Attributes:
        proven: when its newest proven recovery point was begun.
        rpo_s, rto_s: what is promised.
        age_s: of that recovery point; None when there is none.
        recovered_s: what the newest drill measured; None when none did.
        drill: its verdict.
    """

    plan: str
    proven: datetime | None
    rpo_s: float
    age_s: float | None
    rto_s: float
    recovered_s: float | None
    drill: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class HostStanding:
    """One host.

    Attributes:
        silent: whether its scheduler told nothing for several heartbeats.
        findings: how many things it knows to be wrong.
    """

    host: str
    seen: datetime
    silent: bool
    version: str
    findings: int
    plans: tuple[PlanStanding, ...]

    @property
    def verdict(self) -> Verdict:
        """Proven when every plan is and it is there; failed when a plan is; else unproven."""
        own = [plan.verdict for plan in self.plans]
        return combine([*own, Verdict.UNPROVEN] if self.silent else own)


def standings(
    hosts: Iterable[HostEntry],
    points: Sequence[NewestPoint],
    drills: Sequence[DrillEntry],
    now: datetime,
) -> tuple[HostStanding, ...]:
    """Return how each host stands, in the order of `hosts`."""
    proven = {(one.host, one.plan): one.started for one in points if one.verdict == "proven"}
    newest: dict[tuple[str, str], DrillEntry] = {}
    for drill in sorted(drills, key=lambda one: one.started):
        newest[drill.host, drill.plan] = drill
    return tuple(_host(host, proven, newest, now) for host in hosts)


def _host(
    host: HostEntry,
    proven: Mapping[tuple[str, str], datetime],
    drills: Mapping[tuple[str, str], DrillEntry],
    now: datetime,
) -> HostStanding:
    plans = tuple(
        _plan(plan, promise, proven.get((host.name, plan)), drills.get((host.name, plan)), now)
        for plan, promise in host.plans.items()
    )
    silence = (now - host.seen).total_seconds()
    return HostStanding(
        host=host.name,
        seen=host.seen,
        silent=silence > BEATS_UNTIL_SILENT * host.heartbeat_s,
        version=host.version,
        findings=len(host.findings),
        plans=plans,
    )


def _plan(
    plan: str,
    promise: Mapping[str, float | str],
    proven: datetime | None,
    drill: DrillEntry | None,
    now: datetime,
) -> PlanStanding:
    rpo, rto = float(promise["rpo_s"]), float(promise["rto_s"])
    age = (now - proven).total_seconds() if proven else None
    recovered = drill.rto_measured_s if drill else None
    declared = (now - parse_time(str(promise["declared"]))).total_seconds()
    verdict = combine(
        [_kept(age, rpo, waited=declared), Verdict(drill.verdict) if drill else Verdict.UNPROVEN]
    )
    return PlanStanding(
        plan, proven, rpo, age, rto, recovered, drill.verdict if drill else None, verdict
    )


def _kept(age: float | None, rpo: float, *, waited: float) -> Verdict:
    """Return whether the objective is kept; a plan that is younger than it may still have none."""
    if age is None:
        return Verdict.FAILED if waited > rpo else Verdict.UNPROVEN
    return Verdict.PROVEN if age <= rpo else Verdict.FAILED
