"""How everything stood in a period: what a digest tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmvault.core.units import format_time, parse_time
from llmvault.core.verdict import Verdict, combine
from llmvault.schedule.fleet import HostStanding, PlanStanding
from llmvault.schedule.model import FLEET, Finding, Outcome
from llmvault.schedule.telling import worst_first

if TYPE_CHECKING:
    from llmvault.catalog.model import HostEntry, RunEntry

_MOST_STEPS = 31
_DAY = timedelta(days=1)
_TONES: Mapping[str, str] = {
    Outcome.PROVEN: "proven",
    Outcome.FAILED: "failed",
    Outcome.WRONG: "failed",
    Outcome.HUNG: "failed",
    Outcome.UNPROVEN: "unproven",
    Outcome.REFUSED: "unproven",
    Outcome.UNAVAILABLE: "unproven",
    Outcome.DIED: "unproven",
}
_WORST = ("failed", "unproven", "proven")


@dataclass(frozen=True, slots=True)
class Meter:
    """A measurement against its objective, as bars in percent of the longer one.

    Attributes:
        measured_s: None when nothing was measured.
        met: None when that cannot be told.
    """

    measured_s: float | None
    objective_s: float
    measured: int
    objective: int
    met: bool | None


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One plan of a host."""

    host: str
    standing: PlanStanding
    rpo: Meter
    rto: Meter


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job in the period.

    Attributes:
        host: who does it; `FLEET` when one host does it for a group.
        counts: how many of its runs ended ``proven``, ``failed``, ``unproven``.
        steps: the worst of each stretch of time, empty where nothing ran.
        overdue: whether it is late.
    """

    host: str
    job: str
    kind: str
    counts: Mapping[str, int]
    steps: tuple[str, ...]
    last: str
    last_at: datetime | None
    next_at: datetime | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Digest:
    """A period.

    Attributes:
        host: who tells.
        at: when the findings and standings were so.
        step: how long a step of the jobs' lines is.
        findings: everything that is wrong at its end, the worst first.
    """

    host: str
    at: datetime
    begin: datetime
    end: datetime
    hosts: tuple[HostStanding, ...]
    plans: tuple[PlanLine, ...]
    jobs: tuple[JobLine, ...]
    step: timedelta
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """That of all hosts together."""
        return combine(one.verdict for one in self.hosts)

    @property
    def silent(self) -> tuple[HostStanding, ...]:
        """The hosts that told nothing for a while."""
        return tuple(one for one in self.hosts if one.silent)

    @property
    def overdue(self) -> tuple[JobLine, ...]:
        """The jobs that are late."""
        return tuple(one for one in self.jobs if one.overdue)

    @property
    def headline(self) -> str:
        """Everything in a sentence."""
        plans = len(self.plans)
        kept = sum(one.standing.verdict is Verdict.PROVEN for one in self.plans)
        words = [f"{kept} of {plans} plan{'s' * (plans != 1)} proven"]
        if self.overdue:
            words.append(f"{len(self.overdue)} job{'s' * (len(self.overdue) != 1)} overdue")
        words.append(f"{len(self.findings) or 'no'} finding{'s' * (len(self.findings) != 1)}")
        return ", ".join(words)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; times are RFC 3339."""
        return {
            "host": self.host,
            "at": format_time(self.at),
            "from": format_time(self.begin),
            "to": format_time(self.end),
            "verdict": self.verdict.value,
            "headline": self.headline,
            "plans": [
                {
                    "host": one.host,
                    "plan": one.standing.plan,
                    "verdict": one.standing.verdict.value,
                    "drill": one.standing.drill,
                    "rpo": _meter_json(one.rpo),
                    "rto": _meter_json(one.rto),
                }
                for one in self.plans
            ],
            "jobs": [
                {
                    "host": one.host,
                    "job": one.job,
                    "kind": one.kind,
                    **one.counts,
                    "last": one.last,
                    "last_at": one.last_at and format_time(one.last_at),
                    "next_at": one.next_at and format_time(one.next_at),
                    "overdue": one.overdue,
                }
                for one in self.jobs
            ],
            "findings": [
                {name: getattr(one, name) for name in Finding.__slots__} for one in self.findings
            ],
            "silent": [one.host for one in self.silent],
        }


def make_digest(
    host: str,
    at: datetime,
    period: tuple[datetime, datetime],
    standings: Sequence[HostStanding],
    entries: Sequence[HostEntry],
    runs: Iterable[RunEntry],
) -> Digest:
    """Return the digest of a period.

    Args:
        at: now.
        entries: of the same hosts as `standings`: their jobs, and what they know to be wrong.
        runs: that began in the period.
    """
    begin, end = period
    found = {one["key"]: Finding(**one) for entry in entries for one in entry.findings}
    step = _DAY if end - begin <= _DAY * _MOST_STEPS else (end - begin) / _MOST_STEPS
    late = {one.subject: one.host for one in found.values() if one.kind == "overdue"}
    return Digest(
        host=host,
        at=at,
        begin=begin,
        end=end,
        hosts=tuple(standings),
        plans=tuple(_plan(one.host, plan) for one in standings for plan in one.plans),
        jobs=tuple(_jobs(entries, tuple(runs), period, step, set(late.items()))),
        step=step,
        findings=worst_first(found.values()),
    )


def _plan(host: str, standing: PlanStanding) -> PlanLine:
    return PlanLine(
        host,
        standing,
        _meter(standing.age_s, standing.rpo_s),
        _meter(standing.recovered_s, standing.rto_s),
    )


def _meter(measured_s: float | None, objective_s: float) -> Meter:
    measured = max(measured_s or 0.0, 0.0)
    longer = max(measured, objective_s) or 1.0
    met = None if measured_s is None else measured_s <= objective_s
    shown = 0 if measured_s is None else max(1, round(100 * measured / longer))
    return Meter(measured_s, objective_s, shown, round(100 * objective_s / longer), met)


def _meter_json(meter: Meter) -> dict[str, Any]:
    return {"objective_s": meter.objective_s, "measured_s": meter.measured_s, "met": meter.met}


def _jobs(
    entries: Sequence[HostEntry],
    runs: Sequence[RunEntry],
    period: tuple[datetime, datetime],
    step: timedelta,
    late: set[tuple[str, str]],
) -> list[JobLine]:
    of_job: dict[tuple[str, str], list[RunEntry]] = {}
    for run in runs:
        of_job.setdefault((run.owner, run.job), []).append(run)
    known: dict[tuple[str, str], tuple[str, datetime | None]] = {}
    for entry in entries:
        for name, job in entry.jobs.items():
            at = parse_time(job["next"]) if job["next"] else None
            known[job["owner"], name] = (job["kind"], at)
    for key, done in of_job.items():  # a job that is no longer declared was run all the same
        known.setdefault(key, (done[-1].kind, None))
    return [
        _job(key, kind, next_at, of_job.get(key, []), period, step, overdue=key[::-1] in late)
        for key, (kind, next_at) in sorted(known.items())
    ]


def _job(  # noqa: PLR0913  one line of a table
    key: tuple[str, str],
    kind: str,
    next_at: datetime | None,
    runs: Sequence[RunEntry],
    period: tuple[datetime, datetime],
    step: timedelta,
    *,
    overdue: bool,
) -> JobLine:
    owner, name = key
    ended = [run for run in runs if run.outcome in _TONES]
    tones = [_TONES[run.outcome] for run in ended]
    last = max(runs, key=lambda run: run.started, default=None)
    return JobLine(
        host=FLEET if owner.startswith(FLEET) else owner,
        job=name,
        kind=kind,
        counts={verdict.value: tones.count(verdict.value) for verdict in Verdict},
        steps=_steps(ended, period, step),
        last=last.outcome if last else "never",
        last_at=last.started if last else None,
        next_at=next_at,
        overdue=overdue,
    )


def _steps(
    runs: Sequence[RunEntry], period: tuple[datetime, datetime], step: timedelta
) -> tuple[str, ...]:
    """Return the worst verdict of each stretch of the period."""
    begin, end = period
    count = max(1, -((begin - end) // step))
    steps: list[set[str]] = [set() for _ in range(count)]
    for run in runs:
        index = (run.started - begin) // step
        if 0 <= index < count:
            steps[index].add(_TONES[run.outcome])
    return tuple(next((one for one in _WORST if one in seen), "") for seen in steps)
