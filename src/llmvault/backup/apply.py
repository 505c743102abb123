"""Carrying a backup plan out: each source captured once, written to each repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from llmvault.backup.admission import Admission
from llmvault.backup.building import find_base
from llmvault.backup.model import BackupPlan, Reading, SourceResult
from llmvault.backup.stream import StreamReading, read_stream
from llmvault.backup.tree import TreeReader, TreeReading
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, RefusedError, VaultError
from llmvault.core.process import Runner
from llmvault.core.progress import Progress
from llmvault.core.verdict import Verdict, combine
from llmvault.ledger.interface import Ledger
from llmvault.recovery_points.links import files_of, tags_for, telling_links
from llmvault.recovery_points.manifest import file_section, section_digest
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import FileRecord, FileState, SourceRecord
from llmvault.recovery_points.ownership import TAG
from llmvault.restic.command import BackupOptions
from llmvault.restic.repo import BackupOutcome, Repository
from llmvault.snapshotters.model import Held, Seen, Wish
from llmvault.sources.interface import (
    BuildsOnEarlier,
    Link,
    Observation,
    ReadsInPlace,
    Source,
    StreamCapture,
    TreeCapture,
)

_NAMED = 3


class HoldsSnapshots(Protocol):
    """Takes filesystem snapshots for a run (:class:`llmvault.snapshotters.run.Snapshots`)."""

    def holding(self, run: str, wishes: Sequence[Wish]) -> AbstractContextManager[Held]:
        """Hold what is wished for until the context is left; destroy what dead runs left."""


class NoSnapshots:
    """Holds none; for installations in which no source asks for one."""

    def holding(self, run: str, wishes: Sequence[Wish]) -> AbstractContextManager[Held]:
        """Hold nothing."""
        return nullcontext(Held())


@dataclass(frozen=True, slots=True)
class BackupPorts:
    """What a backup works with.

    Attributes:
        repositories: those of the plan that opened.
        versions: what took the backup, e.g. ``{"llmvault": "0.1.0", "restic": "0.18.0"}``.
        snapshots: takes the filesystem snapshots that sources are read from.
        carried: returns what of the installation the manifest carries into the repositories.
    """

    clock: Clock
    runner: Runner
    host: str
    memory: Memory
    repositories: Mapping[str, Repository]
    sources: Mapping[str, Source]
    progress: Progress
    versions: Mapping[str, str]
    ledger: Ledger
    snapshots: HoldsSnapshots = field(default_factory=NoSnapshots)
    carried: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True, slots=True)
class Run:
    """The run in which sources are captured.

    Attributes:
        staging: private directory of this run.
        on_begin: called whenever a source begins to be read.
        seen: source name -> how it is to be read, where it asks for a snapshot.
    """

    plan: BackupPlan
    admission: Admission
    staging: Path
    on_begin: Callable[[], None]
    seen: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Captured:
    """One source, taken; `section` holds the lines of its files in the manifest."""

    record: SourceRecord
    result: SourceResult
    files: tuple[FileRecord, ...]
    section: bytes
    states: Mapping[str, FileState]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A tree's or a stream's reading, brought to one shape; `links` is what a stream builds on.

    Attributes:
        reason: what was read, where the plan's own reason does not tell.
    """

    layout: str
    files: tuple[FileRecord, ...]
    outcomes: Mapping[str, BackupOutcome | VaultError]
    problems: tuple[tuple[Verdict, str], ...]
    states: Mapping[str, FileState]
    links: tuple[Link, ...] = ()
    reason: str = ""


def tags_of(plan: BackupPlan, source: str) -> tuple[str, ...]:
    """Return the tags of one source's snapshot."""
    return (
        f"{TAG}plan={plan.plan}",
        f"{TAG}source={source}",
        f"{TAG}recovery-point={plan.recovery_point}",
    )


def capture_source(
    ports: BackupPorts, run: Run, reading: Reading, *, on_nearly_read: Callable[[], None]
) -> Captured:
    """Observe, capture and read one source; what goes wrong becomes its verdict and reason.

    `on_nearly_read` is called in this thread when little of a tree is left to read.
    """
    source = ports.sources[reading.source]
    seen = run.seen.get(reading.source, Seen())
    started, began = ports.clock.now(), ports.clock.monotonic()
    observation = Observation()
    try:
        looked_at = _as_part_of(ports, run.plan, _where_it_is_seen(source, seen))
        observation = looked_at.observe()
        place = run.staging / source.name
        place.mkdir(mode=0o700)
        with looked_at.capture(place) as capture:
            observation = capture.observation or observation
            read = _read(ports, run, reading, capture, on_nearly_read=on_nearly_read)
    except VaultError as error:
        read = _Reading("tree", (), {}, ((_verdict_of(error), error.diagnostics()),), {})
    except OSError as error:
        read = _Reading("tree", (), {}, ((Verdict.UNPROVEN, f"not captured: {error}"),), {})
    finally:
        ports.progress.finish(source.name)
    seconds = ports.clock.monotonic() - began
    read, observation = _tell_snapshot(seen, read, observation)
    return _captured(reading, source, observation, read, (started, ports.clock.now(), seconds))


def wishes_of(ports: BackupPorts, plan: BackupPlan) -> tuple[Wish, ...]:
    """Return which sources of a plan are to be read from snapshots of what."""
    wishes = []
    for reading in plan.readings:
        source = ports.sources[reading.source]
        if reading.snapshot != "none" and isinstance(source, ReadsInPlace):
            wishes.append(Wish(source.name, source.place(), reading.snapshot))
    return tuple(wishes)


def _where_it_is_seen(source: Source, seen: Seen) -> Source:
    if seen.place is None or not isinstance(source, ReadsInPlace):
        return source
    return source.seen_at(seen.place)


def _as_part_of(ports: BackupPorts, plan: BackupPlan, source: Source) -> Source:
    if not isinstance(source, BuildsOnEarlier):
        return source
    point = plan.recovery_point
    base = find_base(ports.memory, ports.repositories, plan.plan, point, source, source.name)
    return source.building(base)


def _tell_snapshot(
    seen: Seen, read: _Reading, observation: Observation
) -> tuple[_Reading, Observation]:
    """Add what is to be told of a snapshot: its facts, what it lacks, why there is none."""
    problems = list(read.problems)
    if seen.error is not None:
        cause = f"read where it lies, without the snapshot asked for: {seen.error.diagnostics()}"
        problems.append((Verdict.UNPROVEN, cause))
    if seen.missing:
        what = _name_some(seen.missing)
        problems.append((Verdict.UNPROVEN, f"the snapshot does not hold everything: {what}"))
    details = dict(observation.details)
    if seen.place is not None:
        details["snapshot"] = dict(seen.facts)
    elif seen.reason:
        details["snapshot"] = {"snapshotter": "none", "reason": seen.reason}
    return replace(read, problems=tuple(problems)), replace(observation, details=details)


def _read(
    ports: BackupPorts,
    run: Run,
    reading: Reading,
    capture: TreeCapture | StreamCapture,
    *,
    on_nearly_read: Callable[[], None],
) -> _Reading:
    furthest = 0

    def heard(count: int) -> None:
        nonlocal furthest  # restic counts again what was written ahead of it
        furthest = max(furthest, count)
        ports.progress.advance(reading.source, furthest)

    tags = tags_of(run.plan, reading.source)
    if isinstance(capture, StreamCapture):
        run.on_begin()
        ports.progress.start(reading.source, None)
        tags = (*tags, *tags_for(capture.links))
        options = BackupOptions(ports.host, tags, compression=reading.compression)
        stream = read_stream(ports.repositories, capture.filename, options, capture.chunks, heard)
        return _from_stream(capture, stream)

    def begin(size: int) -> None:
        run.on_begin()
        ports.progress.start(reading.source, size)

    lists = run.staging / f"{reading.source}.lists"
    lists.mkdir(mode=0o700)
    reader = TreeReader(
        repositories=ports.repositories,
        host=ports.host,
        tags=tags,
        staging=lists,
        journal=ports.memory.head_starts(run.plan.plan),
        clock=ports.clock,
        older_parent=lambda repository: run.admission.newest(repository, reading.source),
        parent_lost=lambda repository, parent: run.admission.parent_lost(
            repository, reading.source, parent
        ),
        on_bytes=heard,
        on_start=begin,
        on_nearly_read=on_nearly_read,
    )
    before = ports.memory.file_states(run.plan.plan, reading.source)
    return _from_tree(reader.read(capture, reading, before))


def _from_stream(capture: StreamCapture, stream: StreamReading) -> _Reading:
    record = FileRecord(capture.filename, "file", stream.size, 0o644, stream.sha256)
    problems = () if stream.size else ((Verdict.UNPROVEN, "the dump is empty"),)
    return _Reading(
        "stream", (record,), stream.outcomes, problems, {}, capture.links, capture.reason
    )


def _from_tree(tree: TreeReading) -> _Reading:
    files = [record for record in tree.records if record.kind == "file"]
    problems: list[tuple[Verdict, str]] = []
    if not files:
        problems.append((Verdict.UNPROVEN, "there is no file to back up"))
    if tree.unread:
        what = _name_some(f"{path} ({cause})" for path, cause in tree.unread.items())
        problems.append((Verdict.UNPROVEN, f"{len(tree.unread)} not read: {what}"))
    if tree.changed:
        what = _name_some(tree.changed)
        problems.append((Verdict.UNPROVEN, f"{len(tree.changed)} changed while read: {what}"))
    if tree.claims_broken:
        what = _name_some(tree.claims_broken)
        problems.append((Verdict.FAILED, f"content does not match its recorded SHA-256: {what}"))
    if not tree.unread:
        problems.extend(_count_problems(tree, len(files)))
    return _Reading("tree", tree.records, tree.outcomes, tuple(problems), tree.states)


def _count_problems(tree: TreeReading, files: int) -> Iterable[tuple[Verdict, str]]:
    for name, outcome in tree.outcomes.items():
        if isinstance(outcome, BackupOutcome) and outcome.summary.files != files:
            counted = outcome.summary.files
            yield (
                Verdict.UNPROVEN,
                f"restic stored {counted} files in {name}, the listing has {files}",
            )


def _captured(
    reading: Reading,
    source: Source,
    observation: Observation,
    read: _Reading,
    window: tuple[datetime, datetime, float],
) -> Captured:
    snapshots = {
        name: outcome.summary.snapshot
        for name, outcome in read.outcomes.items()
        if isinstance(outcome, BackupOutcome)
    }
    problems = (*read.problems, *_repository_problems(read), *_finding_problems(observation))
    verdict = combine([Verdict.PROVEN, *(verdict for verdict, _ in problems)])
    reason = "; ".join(text for _, text in problems) or read.reason or reading.reason
    needed = (*files_of(read.links), *read.files)
    section = file_section(source.name, needed)
    files = [record for record in read.files if record.kind == "file"]
    total = sum(record.size for record in files)
    observation = replace(observation, details=telling_links(observation.details, read.links))
    record = SourceRecord(
        name=source.name,
        kind=source.kind,
        location=source.location(),
        layout=read.layout,
        verdict=verdict,
        reason=reason,
        snapshots=snapshots,
        captured_from=window[0],
        captured_to=window[1],
        files=len(files) + len(read.links),
        bytes=total + sum(link.size for link in read.links),
        files_sha256=section_digest(section),
        observation=observation,
    )
    result = SourceResult(
        name=source.name,
        kind=source.kind,
        snapshot=next(iter(snapshots.values()), ""),
        verdict=verdict,
        bytes_processed=total,
        bytes_added=_bytes_added(read),
        files=len(files),
        sha256_verified=sum(1 for record in files if record.sha256),
        seconds=round(window[2], 3),
        reason=reason,
    )
    return Captured(record, result, needed, section, read.states)


def _bytes_added(read: _Reading) -> int:
    added = [o.summary.bytes_added for o in read.outcomes.values() if isinstance(o, BackupOutcome)]
    return max(added, default=0)


def _repository_problems(read: _Reading) -> Iterable[tuple[Verdict, str]]:
    for outcome in read.outcomes.values():
        # a repository that is not ours to write to is no fault of the source
        if isinstance(outcome, VaultError) and not isinstance(outcome, RefusedError):
            yield _verdict_of(outcome), outcome.diagnostics()


def _finding_problems(observation: Observation) -> Iterable[tuple[Verdict, str]]:
    for finding in observation.findings:
        if finding.severity != "warning":
            where = f"{finding.path}: " if finding.path else ""
            yield Verdict(finding.severity), f"{where}{finding.detail}"


def _verdict_of(error: VaultError) -> Verdict:
    broken = isinstance(error, IntegrityError | RefusedError)
    return Verdict.FAILED if broken else Verdict.UNPROVEN


def _name_some(items: Iterable[str]) -> str:
    listed = list(items)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    shown = (text.encode("utf-8", "backslashreplace").decode() for text in listed[:_NAMED])
    return ", ".join(shown) + more
