"""What a person must know of jobs, hosts, recovery points and drills. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from llmvault.app.copies import earliest_lapse
from llmvault.copies.model import Coverage
from llmvault.core.units import format_seconds, format_time, parse_time
from llmvault.core.verdict import Verdict
from llmvault.schedule.model import ENDED, FLEET, Finding, Job, Outcome, Run, Seen
from llmvault.schedule.plan import CLOCK_AHEAD, newest_run
from llmvault.schedule.times import count_between, latest, opens

if TYPE_CHECKING:
    from llmvault.catalog.model import DrillEntry, HostEntry, NewestPoint, ProofEntry, SilentHost

_LOG = "read its log in the state directory under logs/jobs"
_WORDS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.FAILED: ("critical", "failed"),
    Outcome.UNPROVEN: ("warning", "ended unproven"),
    Outcome.WRONG: ("critical", "was refused its command line or policy"),
    Outcome.REFUSED: ("warning", "was refused"),
    Outcome.UNAVAILABLE: ("warning", "found something unavailable"),
    Outcome.HUNG: ("critical", "was stopped at its limit"),
    Outcome.DIED: ("warning", "died"),
}


def of_jobs(jobs: Iterable[Job], seen: Mapping[str, Seen], now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with the jobs of this host."""
    for job in jobs:
        ended = [run for run in seen[job.name].runs if run.outcome is not Outcome.RUNNING]
        last = newest_run(Seen(now, tuple(ended)), now)
        if last is not None and last.outcome in _WORDS:
            yield _bad_run(job, last)
        late = overdue_since(job, seen[job.name], now)
        if late is not None:
            yield Finding(
                f"overdue/{job.owner}/{job.name}", "overdue", "critical", job.owner, job.name,
                f"{job.kind} job {job.name} was due at {format_time(late)} and is not done",
                "look whether the scheduler runs: llmvault schedule list",
            )  # fmt: skip


def _bad_run(job: Job, run: Run) -> Finding:
    severity, words = _WORDS[run.outcome]
    detail = f": {run.detail.strip().splitlines()[-1]}" if run.detail.strip() else ""
    return Finding(
        f"run/{job.owner}/{job.name}", f"{job.kind}-{run.outcome.value}", severity, run.host,
        job.name, f"{job.kind} job {job.name} {words}{detail}", _LOG,
    )  # fmt: skip


def overdue_since(job: Job, seen: Seen, now: datetime) -> datetime | None:
    """Return when the newest run that should be done by now was due; None when all is well."""
    at = latest(job, now - job.grace)
    base = min(seen.declared, now)
    if at is None or at <= base:
        return None
    start = opens(job, at)
    if start is not None and start + job.grace > now:
        return None
    done = [
        run.scheduled
        for run in seen.runs
        if run.outcome in ENDED and run.started <= now + CLOCK_AHEAD
    ]
    return at if not done or max(done) < at else None


def of_hosts(silent: Sequence[SilentHost], now: datetime, me: str) -> Iterator[Finding]:
    """Yield which other hosts fell silent."""
    for host in silent:
        silence = (now - host.seen).total_seconds()
        if host.name != me:
            yield Finding(
                f"silent/{host.name}", "silent-host", "critical", host.name, host.name,
                f"host {host.name} has told nothing for {format_seconds(silence)}",
                f"on {host.name}: systemctl status llmvault",
            )  # fmt: skip


def of_promises(
    host: HostEntry,
    points: Sequence[NewestPoint],
    drills: Sequence[DrillEntry],
    now: datetime,
) -> Iterator[Finding]:
    """Yield which promises of a host's plans are not kept; unproven points keep none."""
    proven = {
        point.plan: point.started
        for point in points
        if point.host == host.name and point.verdict == "proven"
    }
    drilled = {
        drill.plan: drill
        for drill in sorted(drills, key=lambda one: one.started)
        if drill.host == host.name
    }
    for plan, promise in host.plans.items():
        subject, at = f"{host.name}/{plan}", proven.get(plan)
        age = (now - (at or parse_time(promise["declared"]))).total_seconds()
        if age > promise["rpo_s"]:
            since = "none is proven" if at is None else f"the newest is {format_seconds(age)} old"
            yield Finding(
                f"rpo/{subject}", "rpo-missed", "critical", host.name, plan,
                f"plan {plan} on {host.name} promises a proven recovery point every "
                f"{format_seconds(promise['rpo_s'])}; {since}",
                f"on {host.name}: llmvault backup {plan}",
            )  # fmt: skip
        drill = drilled.get(plan)
        measured = drill.rto_measured_s if drill else None
        if measured is not None and measured > promise["rto_s"]:
            yield Finding(
                f"rto/{subject}", "rto-missed", "warning", host.name, plan,
                f"plan {plan} on {host.name} took {format_seconds(measured)} to recover; it "
                f"promises {format_seconds(promise['rto_s'])}",
                f"read {drill.report}" if drill else "",
            )  # fmt: skip


def of_drills(
    jobs: Iterable[Job],
    plans: Mapping[str, Sequence[str]],
    looked_at: Mapping[str, datetime],
    now: datetime,
    seen: Mapping[str, Seen],
) -> Iterator[Finding]:
    """Yield which drill jobs do not reach every source within the period that they declare.

    Args:
        plans: plan -> its sources.
        looked_at: plan -> when a drill last came to a verdict on it, good or bad.
    """
    for job in jobs:
        within: timedelta | None = getattr(job.config, "each_source_within", None)
        if within is None:
            continue
        turns = job.config.plans or tuple(plans)
        yield from _too_rare(job, len(turns), within, now)
        late = _undrilled(turns, plans, looked_at, max(seen[job.name].declared, now - within))
        if late and now - seen[job.name].declared > within:
            yield Finding(
                f"undrilled/{job.owner}/{job.name}", "not-drilled", "warning", job.owner, job.name,
                f"job {job.name} declares that every source is drilled within "
                f"{format_seconds(within.total_seconds())}; not so: {', '.join(late)}",
                "read why its runs failed: llmvault schedule list",
            )  # fmt: skip


def _undrilled(
    turns: Sequence[str],
    plans: Mapping[str, Sequence[str]],
    looked_at: Mapping[str, datetime],
    since: datetime,
) -> list[str]:
    """Return the sources of some plans that no drill came to since a moment."""
    done = {
        source
        for plan in turns
        if plan in looked_at and looked_at[plan] >= since
        for source in plans.get(plan, ())
    }
    return sorted({source for plan in turns for source in plans.get(plan, ())} - done)


def _too_rare(job: Job, turns: int, within: timedelta, now: datetime) -> Iterator[Finding]:
    runs = count_between(job, now, now + within)
    if runs < turns:
        yield Finding(
            f"too-rare/{job.owner}/{job.name}", "not-drilled", "warning", job.owner, job.name,
            f"job {job.name} is due {runs} times within "
            f"{format_seconds(within.total_seconds())}, but {turns} plans take turns",
            "let it be due more often, or declare a longer each_source_within",
        )  # fmt: skip


def of_locks(
    terms: Mapping[str, timedelta], proofs: Mapping[str, ProofEntry], now: datetime
) -> Iterator[Finding]:
    """Yield which repositories' locks are about to lapse, or are not what they should be.

    Args:
        terms: repository with a lock -> how long before its lapse a lock is to be extended.
    """
    for name, renewal in terms.items():
        proof = proofs.get(name)
        kind, severity, words = _lock_trouble(proof, renewal, now)
        if kind:
            yield Finding(
                f"{kind}/{name}", kind, severity, FLEET, name, f"repository {name}: {words}",
                f"llmvault lock extend {name}",
            )  # fmt: skip


def _lock_trouble(
    proof: ProofEntry | None, renewal: timedelta, now: datetime
) -> tuple[str, str, str]:
    if proof is None:
        return "lock-unknown", "warning", "nobody looked yet how long its locks last"
    lapse = earliest_lapse(proof)
    if lapse is not None and lapse - now < renewal / 2:
        return "lock-lapses", "critical", f"its first lock lapses at {format_time(lapse)}"
    if proof.verdict != Verdict.PROVEN:
        reason = proof.facts.get("reason") or "not everything is locked"
        return "lock-missing", "critical", f"{reason}"
    return "", "", ""


def of_verification(
    covered: Mapping[str, Coverage], since: Mapping[str, datetime], within: Mapping[str, timedelta],
    now: datetime,
) -> Iterator[Finding]:  # fmt: skip
    """Yield which repositories are not read back as declared; one that never began is not judged.

    Args:
        since: repository -> when its first part was read.
    """
    for name, one in covered.items():
        late = one.overdue or (one.read < one.parts and now - since[name] > within[name])
        words = {
            "verification-errors": f"{one.errors} errors were found" if one.errors else "",
            "verification-behind": f"only {one.read} of {one.parts} parts were read back within "
            f"{format_seconds(within[name].total_seconds())}" if late else "",
        }  # fmt: skip
        for kind, text in words.items():
            if text:
                severity = "critical" if kind == "verification-errors" else "warning"
                yield Finding(
                    f"{kind}/{name}", kind, severity, FLEET, name, f"repository {name}: {text}",
                    f"llmvault verify {name} --all",
                )  # fmt: skip


def of_ledger(
    jobs: Iterable[Job], seen: Mapping[str, Seen], host: str, *, kept_outside: bool
) -> Iterator[Finding]:
    """Yield that nobody outside keeps the ledger's newest checkpoint."""
    pins = [job for job in jobs if job.kind == "ledger_pin"]
    words = "" if kept_outside else "the policy names no witness and no time stamp authority"
    for job in pins:
        ended = [run for run in seen[job.name].runs if run.outcome is not Outcome.RUNNING]
        last = max(ended, key=lambda run: run.started, default=None)
        if last is not None and last.outcome is not Outcome.PROVEN:
            words = f"job {job.name} ended {last.outcome.value}"
    if words and pins:
        yield Finding(
            f"ledger-not-pinned/{host}", "ledger-not-pinned", "warning", host, "ledger",
            f"no outsider has the ledger's newest checkpoint: {words}",
            "declare ledger.witnesses, then: llmvault ledger checkpoint",
        )  # fmt: skip
