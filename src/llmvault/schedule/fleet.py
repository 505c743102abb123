"""How the hosts of a fleet stand against their promises. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmvault.core.units import parse_time
from llmvault.core.verdict import Verdict, combine
from llmvault.schedule.model import BEATS_UNTIL_SILENT

if TYPE_CHECKING:
    from llmvault.catalog.model import HostToday, NewestDrill, NewestPoint


_ALL_SHOWN = 50
_MOST_SHOWN = 100
_BADNESS = {Verdict.FAILED: 0, Verdict.UNPROVEN: 1, Verdict.PROVEN: 2}


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
    hosts: Iterable[HostToday],
    points: Iterable[NewestPoint],
    drills: Iterable[NewestDrill],
    now: datetime,
) -> tuple[HostStanding, ...]:
    """Return how each host stands, in the order of `hosts`.

    Args:
        points: the newest of each verdict, of each plan.
        drills: the newest of each plan.
    """
    proven = {(one.host, one.plan): one.started for one in points if one.verdict == "proven"}
    newest = {(one.host, one.plan): one for one in drills}
    return tuple(_host(host, proven, newest, now) for host in hosts)


def for_people(
    hosts: Sequence[HostStanding],
) -> tuple[Sequence[HostStanding], Sequence[HostStanding]]:
    """Return the hosts that a person should see, and the others.

    Of a few all are shown, by name. Of many only those that keep a promise badly, or fell silent,
    or know of something wrong: the worst first.
    """
    if len(hosts) <= _ALL_SHOWN:
        return hosts, ()
    worst = sorted(hosts, key=lambda host: (_BADNESS[host.verdict], not host.findings, host.host))
    bad = [host for host in worst if host.verdict is not Verdict.PROVEN or host.findings]
    return worst[: min(len(bad), _MOST_SHOWN)], worst[min(len(bad), _MOST_SHOWN) :]


def _host(
    host: HostToday,
    proven: Mapping[tuple[str, str], datetime],
    drills: Mapping[tuple[str, str], NewestDrill],
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
        findings=host.findings,
        plans=plans,
    )


def _plan(
    plan: str,
    promise: Mapping[str, float | str],
    proven: datetime | None,
    drill: NewestDrill | None,
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
