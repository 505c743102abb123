"""Comparing restored files with the manifest, while restic still restores others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.files import list_tree, sha256_file
from llmvault.core.units import format_size
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.model import FileRecord

_THREADS = 2
_NAMED = 5
# Handing one small file to another thread costs more than hashing it.
_SMALL = 1 << 20
_BATCH = 256


class TreeVerifier:
    """Hashes restored files as they become complete, then compares the whole tree.

    Args:
        root: where the files are restored to.
        source: name for the checks.
        records: what the manifest says.
    """

    def __init__(self, root: Path, source: str, records: Iterable[FileRecord]) -> None:
        self._root = root
        self._source = source
        self._records = {record.path: record for record in records}
        self._pool = ThreadPoolExecutor(_THREADS)
        self._small: list[str] = []
        self._seen: set[str] = set()
        self._hashing: list[Future[dict[str, str | OSError]]] = []

    def complete(self, path: str) -> None:
        """Hear that restic has completed a file."""
        record = self._records.get(path)
        if record is None or record.kind != "file" or path in self._seen:
            return
        self._seen.add(path)
        if record.size >= _SMALL:
            self._hash([path])
            return
        self._small.append(path)
        if len(self._small) >= _BATCH:
            self._hash_small()

    def finish(self) -> tuple[Check, ...]:
        """Hash what is left and return the checks ``digests`` and ``tree``."""
        for path in self._records:
            self.complete(path)
        self._hash_small()
        return (self._digest_check(self._broken_files()), self._tree_check())

    def cancel(self) -> None:
        """Hash no more; what is being hashed is waited for."""
        self._pool.shutdown(cancel_futures=True)

    def _hash_small(self) -> None:
        self._hash(self._small)
        self._small = []

    def _hash(self, paths: Sequence[str]) -> None:
        self._hashing.append(self._pool.submit(self._digests, paths))

    def _digests(self, paths: Sequence[str]) -> dict[str, str | OSError]:
        found: dict[str, str | OSError] = {}
        for path in paths:
            try:
                found[path] = sha256_file(os.path.join(self._root, path))  # noqa: PTH118
            except OSError as error:
                found[path] = error
        return found

    def _broken_files(self) -> dict[str, str]:
        broken: dict[str, str] = {}
        digests = {path: one for part in self._hashing for path, one in part.result().items()}
        for path, found in digests.items():
            expected = self._records[path].sha256
            if isinstance(found, OSError):
                broken[path] = found.strerror or str(found)
            elif not expected:
                broken[path] = "the manifest has no digest of it"
            elif found != expected:
                broken[path] = f"SHA-256 is {found[:12]}…, recorded was {expected[:12]}…"
        return broken

    def _digest_check(self, broken: Mapping[str, str]) -> Check:
        if broken:
            return Check("digests", self._source, Verdict.FAILED, _describe(broken))
        files = [record for record in self._records.values() if record.kind == "file"]
        if not files:
            return Check("digests", self._source, Verdict.UNPROVEN, "there is no file to compare")
        size = format_size(sum(record.size for record in files))
        detail = f"{len(files)} files, {size}: every SHA-256 is as recorded"
        return Check("digests", self._source, Verdict.PROVEN, detail)

    def _tree_check(self) -> Check:
        wrong: dict[str, str] = {}

        def note(path: str, error: OSError) -> None:
            wrong[path] = error.strerror or str(error)

        found = {entry.path: entry for entry in list_tree(self._root, on_error=note)}
        for path, record in self._records.items():
            if problem := _compare(record, found.get(path)):
                wrong.setdefault(path, problem)
        wrong |= self._unexpected(found)
        if wrong:
            return Check("tree", self._source, Verdict.FAILED, _describe(wrong))
        detail = f"{len(self._records)} names: kinds, sizes, modes and link targets are as recorded"
        return Check("tree", self._source, Verdict.PROVEN, detail)

    def _unexpected(self, found: Iterable[str]) -> dict[str, str]:
        parents = {parent for path in self._records for parent in _parents(path)}
        extra = set(found) - self._records.keys() - parents
        return dict.fromkeys(sorted(extra), "is not in the manifest")


def _compare(record: FileRecord, entry: Entry | None) -> str:
    if entry is None:
        return "is missing"
    if entry.kind != record.kind:
        return f"is a {entry.kind}, was a {record.kind}"
    if entry.target != record.target:
        return f"leads to {entry.target}, led to {record.target}"
    if entry.size != record.size:
        return f"has {entry.size} bytes, had {record.size}"
    if record.kind != "symlink" and entry.mode != record.mode:
        return f"has mode {entry.mode:04o}, had {record.mode:04o}"
    return ""


def _parents(path: str) -> Iterable[str]:
    names = path.split("/")
    return ("/".join(names[:depth]) for depth in range(1, len(names)))


def _describe(problems: Mapping[str, str]) -> str:
    shown = [f"{path}: {cause}" for path, cause in list(problems.items())[:_NAMED]]
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    text = "; ".join(shown) + more
    return text.encode("utf-8", "backslashreplace").decode()
