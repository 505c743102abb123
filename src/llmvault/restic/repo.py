"""One restic repository: runs restic and returns types. Knows nothing of policies or plans."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from llmvault.core.errors import PolicyError, UnavailableError, VaultError
from llmvault.core.process import Command, Completed, OverdueError, Process, Runner
from llmvault.core.secrets import Secret
from llmvault.restic import command, output
from llmvault.restic.errors import INCOMPLETE, disk_is_full, error_for
from llmvault.restic.output import BackupSummary, ErrorMessage, Message, RestoreSummary, Snapshot

MINIMUM_VERSION = (0, 17, 1)
_FORGET_AT_ONCE = 500
_SNAPSHOT_ID = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What one backup call did.

    Attributes:
        summary: restic's own figures.
        unread: items that could not be read; the snapshot exists without them.
    """

    summary: BackupSummary
    unread: tuple[ErrorMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check found.

    Attributes:
        errors: how many.
        messages: restic's own words.
    """

    errors: int
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that restic can open.

    Attributes:
        name: its name in the policy.
        url: restic's address; may hold credentials, hence never shown.
        written_ahead: whether large files may be written by :mod:`llmvault.packs`.
        patience: seconds that opening or listing may take; then it counts as unreachable.
        answers_within: seconds until it must have answered whatever it is asked; None for as long
            as restic tries, which is 15 minutes where nobody listens.
    """

    name: str
    url: str = field(repr=False)
    password: Secret
    binary: str
    cache: Path
    runner: Runner = field(repr=False)
    backend: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    pack_size_mib: int = 64
    written_ahead: bool = True
    connections: int | None = None
    storage_class: str | None = None
    patience: float = 900.0
    answers_within: float | None = None

    def with_patience(self, seconds: float) -> Repository:
        """Return the same repository, given up on when it does not answer within some seconds."""
        return replace(self, answers_within=seconds)

    def with_cache(self, cache: Path) -> Repository:
        """Return the same repository, with what restic keeps of it on this host elsewhere."""
        return replace(self, cache=cache)

    def init(self) -> str:
        """Create the repository and return its id.

        Raises:
            VaultError: when it cannot be created, e.g. because it exists.
        """
        return self._identity(self._run(command.init()))

    def config_id(self) -> str:
        """Open the repository and return its id.

        Raises:
            UnavailableError: when it is absent or unreachable, or the password is wrong.
        """
        return self._identity(self._run(command.cat_config(), timeout=self.patience))

    def directory(self) -> Path | None:
        """Return where the repository is, if it is a directory of this machine."""
        place = Path(self.url.removeprefix("local:"))
        return place if place.is_absolute() and (place / "config").is_file() else None

    def master_key(self) -> str:
        """Return what everything in the repository is encrypted under, as JSON: a secret.

        Raises:
            UnavailableError: when the repository cannot be opened.
        """
        return self._run(command.master_key(), timeout=self.patience).stdout

    def remove_stale_locks(self) -> tuple[str, ...]:
        """Remove what restic left behind when it was killed; locks in use stay.

        Returns and logs, for each lock that was removed, whose it was and why.

        Raises:
            VaultError: when the repository cannot be opened.
        """
        if self._surely_unlocked():
            return ()
        before = {one: self._holder(one) for one in self._lock_ids()}
        if not before:
            return ()
        self._run(command.unlock(), timeout=self.patience)
        gone = before.keys() - set(self._lock_ids())
        told = tuple(
            f"removed the stale lock {one[:8]} {before[one]}: that process has ended, or did not"
            " renew it for 30 minutes"
            for one in sorted(gone)
        )
        for line in told:
            _log.warning("%s: %s", self.name, line)
        return told

    def _surely_unlocked(self) -> bool:
        """Whether it is a directory without a lock, which is told without starting restic."""
        locks = Path(self.url, "locks")
        return locks.is_dir() and not any(locks.iterdir())

    def _lock_ids(self) -> tuple[str, ...]:
        done = self._run(command.list_ids("locks"), timeout=self.patience)
        return output.parse_ids(done.stdout)

    def _holder(self, lock: str) -> str:
        try:
            held = output.parse_lock(self._run(command.cat("lock", lock)).stdout)
        except (VaultError, ValueError, KeyError, TypeError):
            return "of an unknown holder"  # gone meanwhile, or damaged
        kind = "exclusive, " if held.exclusive else ""
        return f"({kind}process {held.process} on {held.host}, renewed {held.time:%Y-%m-%d %H:%M})"

    def chunker(self) -> str:
        """Return what decides where files are cut; equal in repositories that share data.

        Raises:
            UnavailableError: when the repository cannot be opened.
        """
        done = self._run(command.cat_config(), timeout=self.patience)
        try:
            return str(json.loads(done.stdout)["chunker_polynomial"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._misunderstood("its configuration") from error

    def init_like(self, original: Repository) -> str:
        """Create the repository with the chunker parameters of another; return its id.

        Raises:
            VaultError: when it cannot be created, or not with one set of credentials.
        """
        return self._identity(self._run_from(command.init_like(), original))

    def copy_from(self, original: Repository) -> None:
        """Copy every snapshot of another repository that is not here yet.

        Raises:
            VaultError: when it could not be done; running it again goes on.
        """
        self._run_from(command.copy(), original)

    def _run_from(self, argv: tuple[str, ...], original: Repository) -> Completed:
        other = {
            name: value
            for name, value in original.backend.items()
            if self.backend.get(name, value) != value
        }
        if other:
            raise PolicyError(
                f'repository "{self.name}"',
                f'restic reaches both with one environment, and "{original.name}" has another'
                f" {', '.join(other)}",
                "give both the same keys, or reach one of them another way (rest:, sftp:, rclone:)",
            )
        call = self.with_backend(original.backend)._command(argv, None)
        source = command.source_environment(url=original.url, password=original.password.reveal())
        done = self.runner.run(replace(call, environment={**call.environment, **source}))
        if done.exit_code != 0:
            errors = output.parse_errors(tuple(done.stderr.splitlines()))
            raise error_for(self.name, done.exit_code, errors)
        return done

    def check(self, part: int, parts: int) -> CheckOutcome:
        """Check structure and index, and read one of `parts` parts of the packs; takes no lock.

        Raises:
            IntegrityError: when restic stopped at damage.
            UnavailableError: when the repository cannot be read.
        """
        done = self.runner.run(self._command(command.check(part, parts), None))
        errors = output.parse_errors(tuple(done.stderr.splitlines()))
        counted = output.parse_check(done.stdout)
        if done.exit_code == 0 and not counted:
            return CheckOutcome(0, ())
        if not counted or done.exit_code != 1:
            raise error_for(self.name, done.exit_code, errors)
        self.config_id()  # what cannot be reached is counted as an error too, and is no damage
        return CheckOutcome(counted, tuple(error.message for error in errors))

    def snapshots(self, tags: tuple[str, ...] = ()) -> tuple[Snapshot, ...]:
        """Return the snapshots that carry all of the tags, oldest first."""
        done = self._run(command.snapshots(tags), timeout=self.patience)
        try:
            return output.parse_snapshots(done.stdout)
        except (ValueError, KeyError, TypeError) as error:
            raise self._misunderstood("its list of snapshots") from error

    def with_backend(self, variables: Mapping[str, Secret]) -> Repository:
        """Return the same repository, reached with another credential of its storage."""
        return replace(self, backend={**self.backend, **variables})

    def index_ids(self) -> tuple[str, ...]:
        """Return the ids of the index files."""
        done = self._run(command.list_ids("index"), timeout=self.patience)
        return output.parse_ids(done.stdout)

    def packs_of_index(self, index: str) -> tuple[str, ...]:
        """Return the packs that an index file names."""
        done = self._run(command.cat("index", index), timeout=self.patience)
        try:
            return output.parse_index(done.stdout)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._misunderstood("an index") from error

    def forget(self, snapshots: Sequence[str], *, lock_wait: timedelta) -> None:
        """Remove the named snapshots; what only they refer to stays until :meth:`prune`.

        Called by ``retention.apply`` alone, which deletes what people have approved.

        Raises:
            ValueError: when a name is no full id: restic would look for something that fits.
            VaultError: when it could not be done; some may be removed then.
        """
        wrong = [name for name in snapshots if not _SNAPSHOT_ID.fullmatch(name)]
        if wrong or not snapshots:
            raise ValueError(f"no full snapshot ids: {wrong}")
        for start in range(0, len(snapshots), _FORGET_AT_ONCE):
            self._run(
                command.forget(snapshots[start : start + _FORGET_AT_ONCE], _seconds(lock_wait))
            )

    def prune(self, *, lock_wait: timedelta) -> output.PruneSummary:
        """Remove the data that no snapshot refers to; called by ``retention.apply`` alone.

        Raises:
            VaultError: when it could not be done; running it again is safe.
        """
        return output.parse_prune(self._run(command.prune(_seconds(lock_wait))).stdout)

    def backup_tree(
        self,
        root: Path,
        options: command.BackupOptions,
        *,
        files_from: Path | None = None,
        exclude_file: Path | None = None,
        on_bytes: Callable[[int], None],
    ) -> BackupOutcome:
        """Read a tree (or the listed paths of it) into a snapshot.

        Raises:
            VaultError: when restic made no snapshot.
        """
        argv = command.backup_tree(
            options,
            files_from=str(files_from) if files_from else "",
            exclude_file=str(exclude_file) if exclude_file else "",
        )
        with self._start(argv, cwd=root) as process:
            return self._finish_backup(process, on_bytes)

    @contextmanager
    def open_stream(self, filename: str, options: command.BackupOptions) -> Iterator[StreamBackup]:
        """Start a backup of one file whose bytes are written to the yielded value.

        Leaving the context without :meth:`StreamBackup.finish` stops restic: no snapshot is made.
        """
        call = self._command(command.backup_stream(options, filename), None)
        silent = replace(call, environment={**call.environment, **command.SILENT})
        with self.runner.start(silent, stdin=True) as process:
            yield StreamBackup(self, process)

    def restore(
        self, snapshot: str, target: Path, *, on_message: Callable[[Message], None]
    ) -> tuple[ErrorMessage, ...]:
        """Restore a snapshot into a directory; return what could not be restored.

        What is there already is compared, and only what differs is fetched.

        Raises:
            OSError: when the target's disk is full.
            VaultError: when the repository or the snapshot cannot be read at all.
        """
        summary: RestoreSummary | None = None
        with self._start(command.restore(snapshot, str(target))) as process:
            for line in process.lines():
                message = output.parse_line(line)
                if isinstance(message, RestoreSummary):
                    summary = message
                elif message is not None:
                    on_message(message)
                if isinstance(message, output.Status):
                    _stop_at_full_disk(process)
            code = process.wait()
            errors = output.parse_errors(process.stderr_lines())
        _stop_at_full_disk(process)
        broken = tuple(error for error in errors if error.item)
        if code != 0 and not broken:
            raise error_for(self.name, code, errors)
        if code == 0 and summary is None:
            raise UnavailableError(
                f'repository "{self.name}"', "restic said nothing of its restore"
            )
        return broken

    @contextmanager
    def read_file(
        self, snapshot: str, path: str, *, tags: tuple[str, ...] = ()
    ) -> Iterator[Iterator[bytes]]:
        """Yield the bytes of one file of a snapshot, in pieces.

        `snapshot` is an id, or ``latest`` of those that carry all of the tags.

        Raises:
            VaultError: on leaving the context, when restic did not deliver all of it.
        """
        with self._start(command.dump(snapshot, path, tags)) as process:
            yield process.chunks()
            code = process.wait()
            self._demand_answer(process)
            if code != 0:
                raise error_for(self.name, code, output.parse_errors(process.stderr_lines()))

    def _finish_backup(self, process: Process, on_bytes: Callable[[int], None]) -> BackupOutcome:
        summary: BackupSummary | None = None
        for line in process.lines():
            message = output.parse_line(line)
            if isinstance(message, output.Status):
                on_bytes(message.bytes_done)
            elif isinstance(message, BackupSummary):
                summary = message
        code = process.wait()
        self._demand_answer(process)
        errors = output.parse_errors(process.stderr_lines())
        if code not in (0, INCOMPLETE) or summary is None or not summary.snapshot:
            raise error_for(self.name, code, errors)
        unread = tuple(error for error in errors if error.item)
        if code == INCOMPLETE and not unread:
            said = "; ".join(error.message for error in errors)
            unread = (ErrorMessage(f"restic could not read everything: {said or 'no word why'}"),)
        return BackupOutcome(summary, unread)

    def _command(self, argv: tuple[str, ...], cwd: Path | None) -> Command:
        backend = {name: value.reveal() for name, value in self.backend.items()}
        return Command(
            (
                self.binary,
                *command.connections(self.url, self.connections),
                *command.storage_class(self.url, self.storage_class),
                *argv,
            ),
            command.environment(
                url=self.url,
                password=self.password.reveal(),
                cache=str(self.cache),
                backend=backend,
            ),
            cwd,
            command.DEFAULTS,
        )

    def _identity(self, done: Completed) -> str:
        try:
            return str(json.loads(done.stdout)["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._misunderstood("its configuration") from error

    def _misunderstood(self, what: str) -> UnavailableError:
        return UnavailableError(
            f'repository "{self.name}"',
            f"{self.binary} did not print {what} in the documented form",
            "see: restic version",
        )

    def _start(self, argv: tuple[str, ...], *, cwd: Path | None = None) -> Process:
        process = self.runner.start(self._command(argv, cwd))
        if self.answers_within is not None:
            process.stop_if_silent(self.answers_within)
        return process

    def _demand_answer(self, process: Process) -> None:
        if process.gave_up:
            raise self._no_answer(self.answers_within)

    def _no_answer(self, seconds: float | None) -> UnavailableError:
        return UnavailableError(
            f'repository "{self.name}"',
            f"it did not answer within {seconds or 0:g} s",
            "see whether its storage can be reached: llmvault doctor; how long is waited: its"
            " patience",
        )

    def _run(self, argv: tuple[str, ...], *, timeout: float | None = None) -> Completed:
        limit = timeout
        if self.answers_within is not None:
            limit = min(self.answers_within, timeout or self.answers_within)
        try:
            done = self.runner.run(self._command(argv, None), timeout=limit)
        except OverdueError as error:
            raise self._no_answer(limit) from error
        if done.exit_code != 0:
            errors = output.parse_errors(tuple(done.stderr.splitlines()))
            raise error_for(self.name, done.exit_code, errors)
        return done


def _stop_at_full_disk(process: Process) -> None:
    """Raise at the first file that did not fit: restic 0.18 may wait forever after it.

    Leaving the process's context then stops restic.
    """
    for error in output.parse_errors(process.stderr_lines()):
        if disk_is_full(error.message):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), error.item)


@dataclass(frozen=True, slots=True)
class StreamBackup:
    """A running backup of standard input."""

    repository: Repository
    process: Process

    def write(self, chunk: bytes) -> None:
        """Hand over the next bytes.

        Raises:
            VaultError: when restic has ended early.
        """
        try:
            self.process.write(chunk)
        except BrokenPipeError as error:
            raise self._early_end() from error

    def finish(self) -> BackupOutcome:
        """Say that the stream is complete and return what restic made of it.

        Raises:
            VaultError: when no snapshot was made.
        """
        try:
            self.process.close_stdin()
        except BrokenPipeError as error:
            raise self._early_end() from error
        return self.repository._finish_backup(self.process, lambda _: None)

    def _early_end(self) -> VaultError:
        code = self.process.wait()
        return error_for(
            self.repository.name, code, output.parse_errors(self.process.stderr_lines())
        )


def _seconds(wait: timedelta) -> str:
    return f"{round(wait.total_seconds())}s"


def clear_locks(repositories: Iterable[Repository]) -> None:
    """Remove stale locks; a repository that does not open will be reported by what uses it next."""
    for repository in repositories:
        try:
            repository.remove_stale_locks()
        except VaultError as error:
            _log.warning("stale locks stay in %s: %s", repository.name, error.cause)


@contextmanager
def healing_locks(repositories: Iterable[Repository]) -> Iterator[None]:
    """Remove stale locks while what is in the context works with the repositories.

    Whatever restic of whomever was killed left its lock; restic waits for that as for any other,
    and gives up. Looking for them at the same time costs no time.
    """
    with ThreadPoolExecutor() as pool:
        looking = [pool.submit(clear_locks, [repository]) for repository in repositories]
        yield
        for one in looking:
            one.result()


def restic_version(runner: Runner, binary: str) -> tuple[int, ...]:
    """Return restic's version.

    Raises:
        UnavailableError: when it is not installed or too old.
    """
    done = runner.run(Command((binary, *command.version())), timeout=30)
    try:
        version = output.parse_version(done.stdout)
    except (ValueError, KeyError, IndexError) as error:
        raise UnavailableError(binary, "did not tell its version", "install restic 0.18") from error
    if version < MINIMUM_VERSION:
        shown = ".".join(map(str, version))
        raise UnavailableError(
            binary, f"version {shown} is too old", "install restic 0.17.1 or newer"
        )
    return version
