"""Copying the installation into its repositories.

A whole copy is an ordinary snapshot of files. Between two of them every recovery point's manifest
carries what came since (:func:`tail_of`), so that a backup starts no restic for it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import VaultError
from llmvault.core.files import private_directory, remove_tree
from llmvault.core.verdict import Verdict
from llmvault.ledger.files import CHECKPOINT, MINIMUM_INDEX, LedgerFiles, read_file, read_tile
from llmvault.ledger.merkle import HASH_SIZE
from llmvault.ledger.model import Checkpoint
from llmvault.ledger.stamps import StampFiles
from llmvault.ledger.tiles import (
    WIDTH,
    bundle_bytes,
    bundles_of,
    parse_bundle,
    tile_path,
    tiles_of,
)
from llmvault.recovery.model import (
    FORMAT,
    KEPT_FOLDERS,
    LONG_PATIENCE,
    ROOT_TAG,
    SIZE_TAG,
    TAG,
    CopyResult,
    Kept,
    Tail,
)
from llmvault.recovery.store import CopyStore
from llmvault.recovery.tail import policies_digest
from llmvault.recovery_points.ownership import refuse_foreign, refuse_replaced
from llmvault.restic.command import BackupOptions
from llmvault.restic.errors import snapshot_is_gone
from llmvault.restic.repo import Repository

LONGEST_TAIL = 128 << 10  # bytes of entries; beyond, a whole copy is due


@dataclass(frozen=True, slots=True)
class CopyPorts:
    """What is copied, and where to.

    Attributes:
        repositories: name -> opens it; what cannot be opened does not stop the others.
        identities: name -> restic's id of the repository, where backups have told it.
        policies: returns name -> bytes of the policy files in force, names relative with slashes.
        public_keys: returns the public keys so far, a line each.
        catalog: returns the rows of the catalog as JSON values.
        patience: seconds until a repository must have answered.
    """

    host: str
    state: Path
    store: CopyStore
    ledger: LedgerFiles
    repositories: Mapping[str, Callable[[], Repository]]
    identities: Mapping[str, str]
    policies: Callable[[], Mapping[str, bytes]]
    public_keys: Callable[[], Sequence[str]]
    catalog: Callable[[], Iterable[Mapping[str, Any]]]
    patience: float = LONG_PATIENCE


@dataclass(frozen=True, slots=True)
class _Staged:
    """A whole copy, laid out."""

    place: Path
    checkpoint: Checkpoint
    policies: str
    stamped: int

    def kept(self, identity: str, snapshot: str) -> Kept:
        """Return what a repository holds that this was copied into."""
        return Kept(identity, snapshot, self.checkpoint.head.size, self.policies, self.stamped)


def tail_of(ports: CopyPorts) -> Tail | None:
    """Return what came since the last whole copy in each of the repositories.

    None where a whole copy is due: the tail would be too long.

    Raises:
        IntegrityError: when the ledger is damaged.
    """
    checkpoint = ports.ledger.checkpoint()
    kept = ports.store.kept()
    known = [kept.get(name) for name in ports.repositories]
    size = checkpoint.head.size
    first = min([size, *(one.size if one else 0 for one in known)])
    if first < ports.ledger.minimum_index():
        return None
    entries, length = [], 0
    for _, data in ports.ledger.raw_entries(size, first):
        entries.append(data)
        length += len(data)
        if length > LONGEST_TAIL:
            return None
    policies = ports.policies()
    same = {policies_digest(policies)} == {one.policies if one else "" for one in known}
    return Tail(
        origin=checkpoint.head.origin,
        host=ports.host,
        first=first,
        entries=tuple(entries),
        note=checkpoint.note,
        keys=tuple(ports.public_keys()),
        policies=None if same else {name: data.decode() for name, data in policies.items()},
    )


def copy_whole(ports: CopyPorts) -> tuple[CopyResult, ...]:
    """Copy ledger, policies, public keys, catalog and what else cannot be made again.

    A repository that has the newest already is left alone.

    Raises:
        IntegrityError: when the ledger is damaged: then nothing is copied.
    """
    with ports.store.exclusive():
        place = ports.state / "installation"
        if place.exists():
            remove_tree(place)
        try:
            return _copy(ports, _stage(ports, place))
        finally:
            remove_tree(place)


def _copy(ports: CopyPorts, staged: _Staged) -> tuple[CopyResult, ...]:
    kept = ports.store.kept()

    def one(name: str) -> tuple[CopyResult, Kept | None]:
        known, size = kept.get(name), staged.checkpoint.head.size
        if known and known == staged.kept(known.identity, known.snapshot):
            return CopyResult(name, Verdict.PROVEN, f"it has all {size} entries", size), known
        try:
            repository = ports.repositories[name]().with_patience(ports.patience)
            now = _copy_into(ports, repository, staged, known)
        except VaultError as error:
            held = known.size if known else 0
            return CopyResult(name, Verdict.UNPROVEN, error.diagnostics(), held), known
        return CopyResult(name, Verdict.PROVEN, f"it has now all {size} entries", size), now

    with ThreadPoolExecutor(max(1, len(ports.repositories))) as pool:
        done = list(pool.map(one, ports.repositories))
    found = {result.repository: now for result, now in done if now is not None}
    ports.store.remember({**kept, **found})
    return tuple(result for result, _ in done)


def _copy_into(
    ports: CopyPorts, repository: Repository, staged: _Staged, known: Kept | None
) -> Kept:
    head = staged.checkpoint.head
    root = f"{ROOT_TAG}={head.root.hex()}"
    tags = (f"{TAG}={head.origin}", f"{SIZE_TAG}={head.size}", root)

    def attempt(parent: str) -> str:
        options = BackupOptions(ports.host, tags, parent=parent, ignore_inode=True)
        outcome = repository.backup_tree(staged.place, options, on_bytes=lambda _: None)
        return outcome.summary.snapshot

    if known is None:
        identity = _admitted(repository, ports.identities.get(repository.name, ""))
        return staged.kept(identity, attempt(""))
    try:
        snapshot = attempt(known.snapshot)
    except VaultError as error:
        if not snapshot_is_gone(error):
            raise
        refuse_replaced(repository.name, repository.config_id(), known.identity)
        snapshot = attempt("")
    return staged.kept(known.identity, snapshot)


def _admitted(repository: Repository, expected: str) -> str:
    """Return the id of a repository that nothing was copied into yet, if it may be.

    Raises:
        RefusedError: when it is another project's, or not the one that backups were written to.
    """
    identity = repository.config_id()
    refuse_replaced(repository.name, identity, expected)
    refuse_foreign(repository.name, repository.snapshots())
    return identity


def _stage(ports: CopyPorts, place: Path) -> _Staged:
    private_directory(place)
    checkpoint = ports.ledger.checkpoint()
    _stage_ledger(ports.ledger, checkpoint, place / "ledger")
    stamped = _stage_stamps(StampFiles(ports.ledger.directory), checkpoint, place / "ledger")
    policies = ports.policies()
    for name, data in policies.items():
        _write(place / "policies" / name, data)
    _write(place / "ledger.pub", "".join(f"{line}\n" for line in ports.public_keys()).encode())
    rows = (canonical_bytes(row) + b"\n" for row in ports.catalog())
    _write(place / "catalog.jsonl", b"".join(rows))
    for folder in KEPT_FOLDERS:
        _stage_folder(ports.state / folder, place / "state" / folder)
    head = checkpoint.head
    about = {"format": FORMAT, "host": ports.host, "origin": head.origin, "entries": head.size}
    _write(place / "installation.json", json.dumps(about, indent=1).encode() + b"\n")
    return _Staged(place, checkpoint, policies_digest(policies), stamped)


def _stage_ledger(ledger: LedgerFiles, checkpoint: Checkpoint, place: Path) -> None:
    """Lay out the tiles of a checkpoint and no more, whatever is appended meanwhile."""
    size, minimum = checkpoint.head.size, ledger.minimum_index()
    for relative, data in _partial(ledger, size):
        _write(place / relative, data)
    for relative in _full(size, minimum):
        if not _link(ledger.directory / relative, place / relative):
            read_file(ledger.directory, relative)  # tells what is to be told of a missing one
    if minimum:
        _write(place / MINIMUM_INDEX, str(minimum).encode())
    _write(place / CHECKPOINT, checkpoint.note.encode())


def _stage_stamps(stamps: StampFiles, checkpoint: Checkpoint, ledger: Path) -> int:
    """Lay out the time stamps of what is copied; return how many entries the newest covers."""
    place, newest = StampFiles(ledger).directory, 0
    if not stamps.directory.exists():
        return 0
    for size, paths in stamps.files():
        if size <= checkpoint.head.size and all(_link(path, place / path.name) for path in paths):
            newest = size
    _link(stamps.state_path, place / stamps.state_path.name)
    return newest


def _full(size: int, minimum: int) -> Iterator[str]:
    for level, number, width in tiles_of(size):
        if width == WIDTH:
            yield tile_path(level, number)
    for number, width in bundles_of(size):
        if width == WIDTH and (number + 1) * WIDTH > minimum:
            yield tile_path("entries", number)


def _partial(ledger: LedgerFiles, size: int) -> Iterator[tuple[str, bytes]]:
    for level, number, width in tiles_of(size):
        if width < WIDTH:
            data = read_tile(ledger.directory, level, number, width)
            yield tile_path(level, number, width), data[: width * HASH_SIZE]
    for number, width in bundles_of(size):
        if width < WIDTH:
            place = tile_path("entries", number, width)
            data = read_tile(ledger.directory, "entries", number, width)
            yield place, bundle_bytes(parse_bundle(data, width, place))


def _stage_folder(folder: Path, place: Path) -> None:
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            if path.is_file() and not path.is_symlink() and not name.endswith(".tmp"):
                _link(path, place / path.relative_to(folder))


def _link(path: Path, to: Path) -> bool:
    """Give a file that is never changed in place a second name, or copy it; False if it is gone."""
    private_directory(to.parent)
    try:
        to.hardlink_to(path)
    except FileNotFoundError:
        return False
    except OSError:
        shutil.copy2(path, to)
    return True


def _write(path: Path, data: bytes) -> None:
    private_directory(path.parent)
    path.write_bytes(data)
    path.chmod(0o600)
