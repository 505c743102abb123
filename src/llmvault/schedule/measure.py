"""What is measured of a host: the samples behind dashboard and alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmvault.copies.model import Coverage
from llmvault.notify.metrics import Sample
from llmvault.policy.loaded import LoadedPolicy
from llmvault.schedule.findings import overdue_since
from llmvault.schedule.model import Finding, Job, Outcome, Run, Seen
from llmvault.schedule.plan import newest_run
from llmvault.schedule.times import next_after

if TYPE_CHECKING:
    from llmvault.catalog.model import DrillEntry, NewestPoint


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog knows of a host; empty while it cannot be reached.

    Attributes:
        lapses: repository -> when its first lock lapses.
        covered: repository -> how much of it was read back.
    """

    points: Sequence[NewestPoint] = ()
    drills: Sequence[DrillEntry] = ()
    lapses: Mapping[str, datetime] | None = None
    covered: Mapping[str, Coverage] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A host at one moment."""

    host: str
    version: str
    now: datetime
    loaded: LoadedPolicy
    jobs: Sequence[Job]
    seen: Mapping[str, Seen]
    findings: Sequence[Finding]
    known: Known


def samples_of(view: View) -> Iterator[Sample]:
    """Yield every sample of a host."""
    host = {"host": view.host}
    info = {**host, "version": view.version, "policy": view.loaded.digest[:12]}
    yield Sample("llmvault_info", "What runs here.", info, 1)
    yield Sample(
        "llmvault_look_timestamp_seconds", "When the scheduler last looked.", host,
        view.now.timestamp(),
    )  # fmt: skip
    for finding in view.findings:
        labels = {
            "host": finding.host,
            "kind": finding.kind,
            "severity": finding.severity,
            "subject": finding.subject,
            "told_by": view.host,
        }
        yield Sample("llmvault_finding", "Something that a person must know.", labels, 1)
    for job in view.jobs:
        labels = {**host, "job": job.name, "kind": job.kind}
        yield from _of_job(job, view.seen[job.name], labels, view.now)
    yield from _of_plans(view)
    yield from _of_repositories(view.known)


def _of_job(job: Job, seen: Seen, labels: Mapping[str, str], now: datetime) -> Iterator[Sample]:
    last = newest_run(seen, now)
    late = overdue_since(job, seen, now)
    following = next_after(job, now)
    yield Sample("llmvault_job_overdue", "Whether a job is late.", labels, late is not None)
    running = last is not None and last.outcome is Outcome.RUNNING
    yield Sample("llmvault_job_running", "Whether a job goes on now.", labels, running)
    if following is not None:
        yield Sample(
            "llmvault_job_next_timestamp_seconds", "When a job is next.", labels,
            following.timestamp(),
        )  # fmt: skip
    ended = [run for run in seen.runs if run.finished is not None]
    if ended:
        yield from _of_run(max(ended, key=lambda run: run.started), labels)
    proven = [run.started for run in ended if run.outcome is Outcome.PROVEN]
    if proven:
        yield Sample(
            "llmvault_job_proven_timestamp_seconds", "When a job last ended well.", labels,
            max(proven).timestamp(),
        )  # fmt: skip


def _of_run(run: Run, labels: Mapping[str, str]) -> Iterator[Sample]:
    took = (run.finished - run.started).total_seconds() if run.finished else 0.0
    yield Sample("llmvault_job_seconds", "How long the last run of a job took.", labels, took)
    yield Sample(
        "llmvault_job_outcome", "How the last run of a job ended.",
        {**labels, "outcome": run.outcome.value}, 1,
    )  # fmt: skip


def _of_plans(view: View) -> Iterator[Sample]:
    for name, plan in view.loaded.policy.plans.items():
        labels = {"host": view.host, "plan": name}
        rpo, rto = plan.objectives.rpo.total_seconds(), plan.objectives.rto.total_seconds()
        yield Sample("llmvault_rpo_objective_seconds", "What may be lost.", labels, rpo)
        yield Sample("llmvault_rto_objective_seconds", "How long recovery may take.", labels, rto)
    for point in view.known.points:
        labels = {"host": view.host, "plan": point.plan, "verdict": point.verdict}
        yield Sample(
            "llmvault_recovery_point_timestamp_seconds", "When the newest one was begun.", labels,
            point.started.timestamp(),
        )  # fmt: skip
    newest: dict[str, DrillEntry] = {}
    for drill in sorted(view.known.drills, key=lambda one: one.started):
        newest[drill.plan] = drill
    for drill in newest.values():
        labels = {"host": view.host, "plan": drill.plan}
        yield Sample(
            "llmvault_drill_timestamp_seconds", "When a plan was last drilled.",
            {**labels, "verdict": drill.verdict}, drill.started.timestamp(),
        )  # fmt: skip
        if drill.rto_measured_s is not None:
            yield Sample(
                "llmvault_rto_measured_seconds", "How long the last drill took to recover.", labels,
                drill.rto_measured_s,
            )  # fmt: skip


def _of_repositories(known: Known) -> Iterator[Sample]:
    for name, lapse in (known.lapses or {}).items():
        yield Sample(
            "llmvault_lock_lapse_timestamp_seconds", "When the first lock lapses.",
            {"repository": name}, lapse.timestamp(),
        )  # fmt: skip
    for name, covered in (known.covered or {}).items():
        labels = {"repository": name}
        yield Sample(
            "llmvault_verification_covered_ratio", "Share read back within the declared time.",
            labels, covered.read / covered.parts,
        )  # fmt: skip
        yield Sample(
            "llmvault_verification_errors", "Errors that the last readings found.", labels,
            covered.errors,
        )  # fmt: skip
