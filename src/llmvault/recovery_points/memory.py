"""What this host remembers between backups, as small files: manifests, parents, file states.

Losing it costs time (files are read again), never data: the repositories hold the manifests. It is
apart from the database so that a backup can start restic before the database library is loaded.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from llmvault.core.errors import UnavailableError
from llmvault.core.files import private_directory, remove_tree, write_durably
from llmvault.recovery_points.model import FileState, LastRun

_STATE_TYPES = [int, int, int, int, str, str]


@dataclass(frozen=True, slots=True)
class Memory:
    """The state directory's files."""

    directory: Path

    def last_run(self, plan: str) -> LastRun:
        """Return what is remembered of a plan; empty when nothing readable is there."""
        return _last_run(_read_json(self.directory / "plans" / f"{plan}.json"))

    def remember_run(self, plan: str, run: LastRun) -> None:
        """Replace what is remembered of a plan."""
        write_durably(self.directory / "plans" / f"{plan}.json", _json_bytes(asdict(run)))

    def forget_repository(self, plan: str, repository: str) -> None:
        """Let the next backup of a plan take whatever repository it finds under this name."""
        last = self.last_run(plan)
        parents = {
            source: {name: snapshot for name, snapshot in known.items() if name != repository}
            for source, known in last.parents.items()
        }
        identities = {name: id_ for name, id_ in last.repositories.items() if name != repository}
        self.remember_run(plan, LastRun(last.recovery_point, parents, identities))

    def file_states(self, plan: str, source: str) -> dict[str, FileState]:
        """Return path -> state of a source's files at the last backup; empty when unknown."""
        raw = _read_json(self._states_path(plan, source))
        if not all(_is_state(values) for values in raw.values()):
            return {}
        return {path: FileState(*values) for path, values in raw.items()}

    def remember_files(self, plan: str, source: str, states: Mapping[str, FileState]) -> None:
        """Replace the file states of a source."""
        rows = {
            path: (s.size, s.mtime_ns, s.ctime_ns, s.inode, s.sha256, s.sample)
            for path, s in states.items()
        }
        write_durably(self._states_path(plan, source), _json_bytes(rows))

    def manifest_path(self, recovery_point: str) -> Path:
        """Return where the local copy of a manifest is."""
        return self.directory / "recovery-points" / f"{recovery_point}.jsonl"

    def keep_manifest(self, recovery_point: str, data: bytes) -> None:
        """Keep a local copy of a manifest."""
        write_durably(self.manifest_path(recovery_point), data)

    def head_starts(self, plan: str) -> Path:
        """Return where a plan's runs name the snapshots that are there only until restic's are."""
        return self.directory / "head-starts" / plan

    @contextmanager
    def staging(self, plan: str, recovery_point: str) -> Iterator[Path]:
        """Yield an empty private directory; leftovers of the plan's dead runs are removed first.

        The caller holds the plan's lock, so nobody else is using what is removed.
        """
        base = self.directory / "staging" / plan
        if base.exists():
            remove_tree(base)
        place = base / recovery_point
        private_directory(place)
        try:
            yield place
        finally:
            remove_tree(base)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[bool]:
        """Hold the lock `name` on this host; the kernel releases it when the process dies.

        Yields whether the last holder died: it left its process id in the file.

        Raises:
            UnavailableError: when another process holds it.
        """
        path = self.directory / "locks" / f"{name}.lock"
        private_directory(path.parent)
        with open(path, "a+", opener=_private_opener) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                holder = stream.read().strip() or "unknown"
                raise UnavailableError(
                    name, f"process {holder} is already at it", "wait until it has finished"
                ) from error
            died = os.fstat(stream.fileno()).st_size > 0
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            try:
                yield died
            finally:
                stream.truncate(0)

    def _states_path(self, plan: str, source: str) -> Path:
        return self.directory / "files" / plan / f"{source}.json"


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _last_run(raw: Mapping[str, Any]) -> LastRun:
    """Return what a file says of a plan; empty when it was not written by us."""
    point, parents, repositories = (raw.get(f.name) for f in fields(LastRun))
    if not isinstance(point, str) or not _is_names(repositories):
        return LastRun()
    if not isinstance(parents, dict) or not all(map(_is_names, parents.values())):
        return LastRun()
    return LastRun(point, parents, cast(dict[str, str], repositories))


def _is_names(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())


def _is_state(values: object) -> bool:
    return isinstance(values, list) and [type(value) for value in values] == _STATE_TYPES


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
