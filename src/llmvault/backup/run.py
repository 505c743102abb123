"""Taking a recovery point: the only thing that the command line and the scheduler call."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from llmvault.backup.admission import Admission
from llmvault.backup.apply import BackupPorts, Captured, Run, capture_source, wishes_of
from llmvault.backup.crosscheck import Pairing, crosscheck
from llmvault.backup.model import BackupPlan, BackupResult, RepositoryResult
from llmvault.backup.plan import SourceChoice, plan_backup
from llmvault.backup.quiesce import Hook, held_still
from llmvault.backup.stream import Fan, open_fan
from llmvault.core.errors import VaultError
from llmvault.core.units import format_seconds
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.ledger.interface import Ledger
from llmvault.packs import journal as head_starts
from llmvault.recovery_points.manifest import FILENAME, encode
from llmvault.recovery_points.model import FileRecord, LastRun, Manifest, SourceRecord
from llmvault.recovery_points.ownership import TAG
from llmvault.restic.command import BackupOptions
from llmvault.restic.repo import BackupOutcome, healing_locks
from llmvault.snapshotters.model import Held
from llmvault.sources.interface import BuildsOnEarlier


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up, as the policy declares it.

    Attributes:
        partial: only some of the plan's sources were asked for; such a point is never proven.
        hooks: writers that are held still while the sources are captured.
        max_window: seconds within which all sources must be captured; None for any.
    """

    plan: str
    recovery_point: str
    sources: tuple[SourceChoice, ...]
    pairings: tuple[Pairing, ...]
    rto_seconds: float
    rpo_seconds: float
    policy_digest: str
    partial: bool = False
    hooks: tuple[Hook, ...] = ()
    max_window: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a golden recorder brought: sets as JSON values, and how it went."""

    goldens: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]


class GoldenRecorder(Protocol):
    """Records goldens around the captures, so that a store that changes meanwhile is noticed."""

    def before(self) -> None:
        """Called before the first source is captured."""

    def after(
        self, sources: Sequence[SourceRecord], files: Mapping[str, tuple[FileRecord, ...]]
    ) -> Recorded:
        """Called when every source has been captured; `files` by source name."""


def decide(ports: BackupPorts, request: BackupRequest) -> BackupPlan:
    """Return what a run would do, without doing it."""
    return plan_backup(
        plan=request.plan,
        recovery_point=request.recovery_point,
        sources=request.sources,
        repositories=tuple(ports.repositories),
        last=ports.memory.last_run(request.plan),
    )


def run_backup(
    ports: BackupPorts, request: BackupRequest, recorder: GoldenRecorder | None
) -> tuple[BackupResult, Manifest]:
    """Take one recovery point of a plan.

    Raises:
        UnavailableError: when another backup of the plan runs, or no repository can be written to.
        RefusedError: when no repository is the one it is declared to be.
    """
    repositories = ports.repositories.values()
    with ports.memory.exclusive(f"backup-{request.plan}"), healing_locks(repositories):
        with _recorded(ports.ledger, request) as record:
            result, manifest, data = _run(ports, request, recorder, record)
            record.outcome = _ledger_facts(result, manifest, data)
        return result, manifest


def _run(
    ports: BackupPorts,
    request: BackupRequest,
    recorder: GoldenRecorder | None,
    record: _Record,
) -> tuple[BackupResult, Manifest, bytes]:
    started, began = ports.clock.now(), ports.clock.monotonic()
    admission = Admission(request.plan, ports.host, ports.memory.last_run(request.plan))
    admission.ask_parentless(ports.repositories.values(), request.sources[0].name)
    open_ports = replace(ports, repositories=admission.usable(ports.repositories))
    plan = decide(open_ports, request)
    with _manifest_writer(open_ports, plan) as writer:
        if recorder:
            recorder.before()
        with held_still(ports.runner, ports.clock, request.hooks) as stillness:
            captured, snapshot_checks = _capture_all(
                open_ports, plan, admission, writer, record, eager=recorder is None
            )
        recorded = _record_goldens(recorder, captured)
        together = (
            *window_checks(captured_window(captured), request.max_window),
            *stillness.checks,
            *snapshot_checks,
        )
        manifest = _manifest(
            open_ports,
            request,
            captured,
            replace(recorded, checks=(*recorded.checks, *together)),
            started,
        )
        record.begun()  # what the manifest carries of the ledger tells of this backup too
        sections = {taken.record.name: taken.section for taken in captured}
        data = encode(manifest, sections, ports.carried())
        outcomes = _store(open_ports, admission, writer, data)
    ports.memory.keep_manifest(manifest.id, data)
    _remember(open_ports, plan, captured, admission.identities)
    settled = _settle(open_ports, plan, captured)
    repositories = _repository_results(ports, admission.refused, outcomes)
    verdict = combine(
        [manifest.verdict, *(one.verdict for one in repositories), *(c.verdict for c in settled)]
    )
    result = BackupResult(
        recovery_point=manifest.id,
        plan=request.plan,
        verdict=verdict,
        sources=tuple(c.result for c in captured),
        repositories=repositories,
        checks=(*manifest.checks, *settled),
        seconds=round(ports.clock.monotonic() - began, 3),
    )
    return result, manifest, data


@dataclass(slots=True)
class _Record:
    """A backup's entries in the ledger.

    The first is written in another thread as soon as restic runs, so that neither waits for the
    other; there is no recovery point without it.
    """

    ledger: Ledger
    facts: Mapping[str, Any]
    pool: ThreadPoolExecutor
    outcome: Mapping[str, Any] = field(default_factory=dict)
    _index: Future[int] | None = None

    def begin(self) -> None:
        """Begin to write the first entry, if that was not done."""
        if self._index is None:
            self._index = self.pool.submit(self.ledger.append, "backup.started", self.facts)

    def begun(self) -> int:
        """Return the index of the first entry once it is durable."""
        self.begin()
        assert self._index is not None  # noqa: S101  begin() has set it
        return self._index.result()


@contextmanager
def _recorded(ledger: Ledger, request: BackupRequest) -> Iterator[_Record]:
    """Write a backup into the ledger: ``backup.started``, then ``.finished`` or ``.failed``."""
    facts = {
        "plan": request.plan,
        "recovery_point": request.recovery_point,
        "policy": request.policy_digest,
    }
    with ThreadPoolExecutor(1) as pool:
        record = _Record(ledger, facts, pool)
        try:
            yield record
        except BaseException as error:
            record.begun()
            ledger.append("backup.failed", {**facts, "error": type(error).__name__})
            raise
        record.begun()
        ledger.append("backup.finished", {**facts, **record.outcome})


def _ledger_facts(result: BackupResult, manifest: Manifest, data: bytes) -> dict[str, Any]:
    return {
        "verdict": result.verdict.value,
        "manifest_sha256": hashlib.sha256(data).hexdigest(),
        "sources": {
            one.name: {
                "kind": one.kind,
                "verdict": one.verdict.value,
                "files": one.files,
                "bytes": one.bytes,
                "snapshots": dict(one.snapshots),
            }
            for one in manifest.sources
        },
        "repositories": {one.name: one.verdict.value for one in result.repositories},
        "seconds": result.seconds,
    }


def _store(
    ports: BackupPorts, admission: Admission, writer: _ManifestWriter, data: bytes
) -> dict[str, BackupOutcome | VaultError]:
    """Store the manifest in every repository that has proved itself by now.

    Raises:
        VaultError: when no repository has it; then there is no recovery point.
    """
    admission.ask(ports.repositories.values())
    outcomes = writer.store(data, admission.usable(ports.repositories).keys())
    errors = [outcome for outcome in outcomes.values() if isinstance(outcome, VaultError)]
    if len(errors) == len(outcomes):
        raise errors[0]
    return outcomes


def _record_goldens(recorder: GoldenRecorder | None, captured: Sequence[Captured]) -> Recorded:
    if recorder is None:
        return Recorded((), ())
    files = {taken.record.name: taken.files for taken in captured}
    return recorder.after([taken.record for taken in captured], files)


@dataclass(slots=True)
class _ManifestWriter:
    """Opens the repositories for the manifest while the last source is still being read.

    Opening costs about half a second of key derivation; done early, on another core, an unchanged
    backup does not wait for it.
    """

    ports: BackupPorts
    options: BackupOptions
    stack: ExitStack
    fan: Fan | None = None

    def prepare(self) -> None:
        self._open()

    def _open(self) -> Fan:
        if self.fan is None:
            opened = open_fan(self.ports.repositories, FILENAME, self.options)
            self.fan = self.stack.enter_context(opened)
        return self.fan

    def store(self, data: bytes, names: Collection[str]) -> dict[str, BackupOutcome | VaultError]:
        fan = self._open()
        fan.keep_only(names)
        fan.write(data)
        return fan.finish()


@contextmanager
def _manifest_writer(ports: BackupPorts, plan: BackupPlan) -> Iterator[_ManifestWriter]:
    tags = (
        f"{TAG}manifest",
        f"{TAG}plan={plan.plan}",
        f"{TAG}recovery-point={plan.recovery_point}",
    )
    with ExitStack() as stack:
        yield _ManifestWriter(ports, BackupOptions(ports.host, tags), stack)


def _nothing() -> None:
    return


def _capture_all(
    ports: BackupPorts,
    plan: BackupPlan,
    admission: Admission,
    writer: _ManifestWriter,
    record: _Record,
    *,
    eager: bool,
) -> tuple[tuple[Captured, ...], tuple[Check, ...]]:
    captured = []
    wishes = wishes_of(ports, plan)
    with (
        ports.memory.staging(plan.plan, plan.recovery_point) as staging,
        ports.snapshots.holding(plan.recovery_point, wishes) as held,
    ):
        head_starts.sweep(ports.memory.head_starts(plan.plan))
        for reading in plan.readings:
            last_one = eager and reading is plan.readings[-1]
            admission.ask_parentless(ports.repositories.values(), reading.source)
            if last_one and reading.parents:
                writer.prepare()  # most of it was read before, so it will not take long
            open_ports = replace(ports, repositories=admission.usable(ports.repositories))
            run = Run(plan, admission, staging, record.begin, held.seen)
            soon = writer.prepare if last_one else _nothing
            taken = capture_source(open_ports, run, reading, on_nearly_read=soon)
            admission.proved(taken.record.snapshots)
            captured.append(taken)
    return tuple(captured), _snapshot_checks(held)


def _snapshot_checks(held: Held) -> tuple[Check, ...]:
    """Return what went wrong with filesystem snapshots themselves; known when they are gone."""
    return tuple(
        Check("snapshots", "", Verdict.UNPROVEN, problem)
        for problem in dict.fromkeys(held.problems)
    )


def _manifest(
    ports: BackupPorts,
    request: BackupRequest,
    captured: Sequence[Captured],
    recorded: Recorded,
    started: datetime,
) -> Manifest:
    records = tuple(c.record for c in captured)
    window = captured_window(captured)
    checks = (*crosscheck(records, request.pairings), *recorded.checks, *_partial_check(request))
    verdicts = [*(r.verdict for r in records), *(check.verdict for check in checks)]
    return Manifest(
        id=request.recovery_point,
        plan=request.plan,
        host=ports.host,
        started=started,
        finished=ports.clock.now(),
        captured_from=window[0],
        captured_to=window[1],
        verdict=combine(verdicts),
        versions=ports.versions,
        policy_digest=request.policy_digest,
        rto_seconds=request.rto_seconds,
        rpo_seconds=request.rpo_seconds,
        sources=records,
        checks=checks,
        goldens=recorded.goldens,
        files={c.record.name: c.files for c in captured},
    )


def captured_window(captured: Sequence[Captured]) -> tuple[datetime, datetime]:
    """Return the time from the first moment of any capture to the last of any."""
    starts = [taken.record.captured_from for taken in captured]
    ends = [taken.record.captured_to for taken in captured]
    return min(starts), max(ends)


def window_checks(window: tuple[datetime, datetime], allowed: float | None) -> tuple[Check, ...]:
    """Return the check that all sources were captured within the time that the plan allows."""
    if allowed is None:
        return ()
    seconds = (window[1] - window[0]).total_seconds()
    took, limit = format_seconds(seconds), format_seconds(allowed)
    if seconds > allowed:
        detail = (
            f"the sources were captured within {took}, the plan allows {limit}: what they hold may "
            "not belong together"
        )
        return (Check("window", "", Verdict.UNPROVEN, detail),)
    detail = f"all sources were captured within {took}, the plan allows {limit}"
    return (Check("window", "", Verdict.PROVEN, detail),)


def _partial_check(request: BackupRequest) -> tuple[Check, ...]:
    if not request.partial:
        return ()
    detail = "only some of the plan's sources were asked for; it cannot stand for the whole"
    return (Check("complete", "", Verdict.UNPROVEN, detail),)


def _remember(
    ports: BackupPorts,
    plan: BackupPlan,
    captured: Sequence[Captured],
    identities: Mapping[str, str],
) -> None:
    last = ports.memory.last_run(plan.plan)
    parents = {name: dict(known) for name, known in last.parents.items()}
    for taken in captured:
        if taken.record.layout == "stream":
            parents.pop(taken.record.name, None)
        elif taken.record.snapshots:
            # only those made now: a moved tree is judged by states that others do not know
            parents[taken.record.name] = dict(taken.record.snapshots)
            ports.memory.remember_files(plan.plan, taken.record.name, taken.states)
    repositories = {**last.repositories, **identities}
    ports.memory.remember_run(plan.plan, LastRun(plan.recovery_point, parents, repositories))


def _settle(
    ports: BackupPorts, plan: BackupPlan, captured: Sequence[Captured]
) -> tuple[Check, ...]:
    """Tell sources that build on earlier captures what this one is now; return what went wrong.

    The manifest is stored by then: a run that dies before is one that the next does not build on.
    """
    problems = []
    for taken in captured:
        name, source = taken.record.name, ports.sources[taken.record.name]
        if not isinstance(source, BuildsOnEarlier):
            continue
        stored = bool(taken.record.snapshots)
        try:
            source.settle(plan.plan, plan.recovery_point, stored=stored)
        except VaultError as error:
            detail = f"left behind, the next run tries again: {error.diagnostics()}"
            problems.append(Check("snapshots", name, Verdict.UNPROVEN, detail))
    return tuple(problems)


def _repository_results(
    ports: BackupPorts,
    refused: Mapping[str, VaultError],
    outcomes: Mapping[str, BackupOutcome | VaultError],
) -> tuple[RepositoryResult, ...]:
    results = []
    for name in ports.repositories:
        found = refused[name] if name in refused else outcomes[name]
        if isinstance(found, VaultError):
            results.append(RepositoryResult(name, Verdict.UNPROVEN, found.diagnostics()))
        else:
            results.append(RepositoryResult(name, Verdict.PROVEN, "the manifest is stored"))
    return tuple(results)
