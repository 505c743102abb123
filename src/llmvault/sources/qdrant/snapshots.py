"""Captures of a server: one snapshot per collection and node, and what snapshots do not hold.

The files are specified in ``docs/formats/qdrant.md``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.files import private_directory, sha256_file, write_durably
from llmvault.sources.interface import Finding
from llmvault.sources.qdrant.server import QdrantServer, Snapshot
from llmvault.sources.qdrant.words import Settings, settings_from_config

INDEX = "qdrant.json"
FORMAT = "llmvault/qdrant/1"
_CONFIG = "config.json"
_PAYLOAD_INDEX = "payload_index.json"
_SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """A snapshot of a collection as one node holds it.

    Attributes:
        file: relative to the capture.
        node: position of the node in the policy, from 0.
        sha256: of the file.
    """

    file: str
    node: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Captured:
    """What a capture of a server holds.

    Attributes:
        version: of the server.
        nodes: how many it was taken from.
        collections: name -> snapshots.
        aliases: alias -> collection.
    """

    version: str
    nodes: int
    collections: Mapping[str, tuple[NodeSnapshot, ...]]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Inside:
    """What a snapshot's archive holds.

    Attributes:
        shards: shard id -> number of its segments.
    """

    settings: Settings
    shards: Mapping[int, int]


def take(
    servers: Sequence[QdrantServer], names: Sequence[str], root: Path, journal: Journal
) -> tuple[Captured, tuple[Finding, ...]]:
    """Have every node snapshot every collection, and bring the snapshots below `root`.

    Snapshots are deleted from the server as soon as they are here, or when something fails.

    Raises:
        VaultError: when a snapshot cannot be made or does not arrive whole.
        OSError: when the disk is full.
    """
    findings: list[Finding] = []
    collections: dict[str, tuple[NodeSnapshot, ...]] = {}
    for name in names:
        taken: list[NodeSnapshot] = []
        present: set[int] = set()
        elsewhere: set[int] = set()
        for node, server in enumerate(servers):
            here, there = server.shards(name)
            present, elsewhere = present | set(here), elsewhere | set(there)
            if not here:
                continue
            with journal.temporary(server, name) as snapshot:
                file = f"collections/{_component(name)}/{node}.snapshot"
                (root / file).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                sha256 = server.download(name, snapshot, root / file)
            if not snapshot.sha256:
                detail = "the server states no checksum; what arrived cannot be compared with it"
                findings.append(Finding("snapshot-without-checksum", name, detail, "warning"))
            taken.append(NodeSnapshot(file, node, sha256))
            findings.extend(_shallow(name, root / file, here))
        if lost := sorted(elsewhere - present):
            detail = (
                f"shards {', '.join(map(str, lost))} lie on nodes that the policy does not name"
            )
            findings.append(Finding("shards-missing", name, detail, "failed"))
        collections[name] = tuple(taken)
    aliases = {key: one for key, one in servers[0].aliases().items() if one in collections}
    captured = Captured(servers[0].version(), len(servers), collections, aliases)
    _write_index(root, captured)
    return captured, tuple(findings)


def _shallow(name: str, file: Path, here: Sequence[int]) -> Iterator[Finding]:
    """Yield a finding when a snapshot that was made is an empty shell."""
    try:
        inside = look_inside(file)
    except IntegrityError as error:
        yield Finding("snapshot-unreadable", name, error.cause, "failed")
        return
    if empty := [shard for shard in here if not inside.shards.get(shard)]:
        detail = f"the snapshot holds nothing of shard {empty[0]}"
        yield Finding("snapshot-empty", name, detail, "failed")


def _write_index(root: Path, captured: Captured) -> None:
    stated = {
        "format": FORMAT,
        "version": captured.version,
        "nodes": captured.nodes,
        "aliases": dict(captured.aliases),
        "collections": [
            {
                "name": name,
                "snapshots": [
                    {"file": one.file, "node": one.node, "sha256": one.sha256} for one in snapshots
                ],
            }
            for name, snapshots in sorted(captured.collections.items())
        ],
    }
    (root / INDEX).write_bytes(canonical_bytes(stated) + b"\n")


def read_index(root: Path) -> Captured:
    """Return what a capture says of itself.

    Raises:
        IntegrityError: when it cannot be read, or is of another version of the format.
    """
    thing = f"capture {root}"
    try:
        stated = json.loads((root / INDEX).read_text(encoding="utf-8"))
        if stated["format"] != FORMAT:
            raise IntegrityError(
                thing, f"its format {stated['format']!r} is not known", "update llmvault"
            )
        return Captured(
            version=str(stated["version"]),
            nodes=int(stated["nodes"]),
            collections={
                str(one["name"]): tuple(
                    NodeSnapshot(_inner(each["file"]), int(each["node"]), str(each["sha256"]))
                    for each in one["snapshots"]
                )
                for one in stated["collections"]
            },
            aliases={str(key): str(one) for key, one in stated["aliases"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            thing, f"{INDEX} cannot be read: {error}", "restore the source again"
        ) from error


def _inner(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{file} leads outside")
    return file


def fault_of(root: Path, snapshot: NodeSnapshot) -> str:
    """Return what is wrong with a snapshot's file; empty when it is the captured one."""
    path = root / snapshot.file
    if not path.is_file():
        return f"{snapshot.file} is not there"
    if sha256_file(path) != snapshot.sha256:
        return f"{snapshot.file} does not have the SHA-256 that was recorded"
    return ""


def look_inside(archive: Path) -> Inside:
    """Return what a snapshot holds, by the names in it and its configuration.

    Raises:
        IntegrityError: when it is no snapshot of a collection, or cut off.
    """
    thing = f"snapshot {archive.name}"
    files: dict[str, Any] = {_CONFIG: None, _PAYLOAD_INDEX: None}
    shards: dict[int, set[str]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                if parts and parts[0].isdigit():
                    segments = shards.setdefault(int(parts[0]), set())
                    if len(parts) > 2 and parts[1] == _SEGMENTS:
                        segments.add(parts[2])
                elif len(parts) == 1 and parts[0] in files and member.isfile():
                    content = tar.extractfile(member)
                    files[parts[0]] = json.load(content) if content is not None else None
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise IntegrityError(thing, f"it cannot be read: {error}") from error
    if files[_CONFIG] is None:
        raise IntegrityError(
            thing, f"there is no {_CONFIG} in it: it is no snapshot of a collection"
        )
    schema = (files[_PAYLOAD_INDEX] or {}).get("schema") or {}
    return Inside(
        settings_from_config(files[_CONFIG], schema),
        {shard: len(segments) for shard, segments in sorted(shards.items())},
    )


def extract_shard(archive: Path, shard: int, target: Path) -> None:
    """Write one shard of a collection's snapshot as the archive that a shard's snapshot is.

    Raises:
        IntegrityError: when the snapshot cannot be read, or a name in it leads outside.
        OSError: when the disk is full.
    """
    try:
        with tarfile.open(archive, "r:") as tar, tarfile.open(target, "w") as out:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                if len(parts) < 2 or parts[0] != str(shard):
                    continue
                if ".." in parts or not (member.isfile() or member.isdir()):
                    cause = f"{member.name} is no file or directory of a shard"
                    raise IntegrityError(f"snapshot {archive.name}", cause)
                member.name = "/".join(parts[1:])
                out.addfile(member, tar.extractfile(member) if member.isfile() else None)
    except tarfile.TarError as error:
        raise IntegrityError(f"snapshot {archive.name}", f"it cannot be read: {error}") from error


def archives_of(root: Path, captured: Captured, scratch: Path) -> Mapping[str, list[Path]]:
    """Write every shard of every collection below `scratch`; return collection -> archives.

    A shard of which several nodes hold a copy is taken from the first.
    """
    found: dict[str, list[Path]] = {}
    for name, snapshots in captured.collections.items():
        place = scratch / _component(name)
        place.mkdir(mode=0o700)
        done: set[int] = set()
        found[name] = []
        for snapshot in snapshots:
            for shard, segments in look_inside(root / snapshot.file).shards.items():
                if shard in done or not segments:
                    continue
                archive = place / f"{shard}.tar"
                extract_shard(root / snapshot.file, shard, archive)
                found[name].append(archive)
                done.add(shard)
    return found


def _component(name: str) -> str:
    encoded = quote(name, safe="")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


class Journal:
    """Remembers which snapshots of ours lie on a server, for the run after one that was killed.

    Args:
        path: its file; None remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @contextmanager
    def temporary(self, server: QdrantServer, name: str) -> Iterator[Snapshot]:
        """Yield a snapshot that is made now and deleted when the context is left."""
        entry = {"url": server.url, "collection": name, "before": list(server.snapshots(name))}
        self._write(entry)
        snapshot = server.take_snapshot(name)
        self._write({**entry, "snapshot": snapshot.name})
        try:
            yield snapshot
        finally:
            server.remove_snapshot(name, snapshot.name)
            self._write(None)

    def sweep(self, servers: Sequence[QdrantServer]) -> tuple[Finding, ...]:
        """Delete the snapshot that a killed run left; tell of one that may be such."""
        entry = self._read()
        server = next((one for one in servers if entry and one.url == entry["url"]), None)
        if entry is None or server is None:
            return ()
        name = str(entry["collection"])
        if entry.get("snapshot"):
            server.remove_snapshot(name, str(entry["snapshot"]))
            self._write(None)
            return ()
        try:
            new = sorted(set(server.snapshots(name)) - set(entry["before"]))
        except VaultError:
            new = []
        self._write(None)
        detail = "it may be of a backup that was killed; delete it if it is not yours"
        return tuple(Finding("snapshot-left", f"{name}/{one}", detail, "warning") for one in new)

    def _write(self, entry: Mapping[str, Any] | None) -> None:
        if self._path is None:
            return
        if entry is None:
            self._path.unlink(missing_ok=True)
            return
        private_directory(self._path.parent)
        write_durably(self._path, canonical_bytes(entry))

    def _read(self) -> Mapping[str, Any] | None:
        try:
            stated = json.loads(self._path.read_bytes()) if self._path is not None else None
        except (FileNotFoundError, ValueError):
            return None
        return stated if isinstance(stated, dict) else None
