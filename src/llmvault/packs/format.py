"""restic's repository format, as far as it is written and read here. Pure.

Specification: restic, "References", sections "Repository Format" to "Snapshots"
(https://restic.readthedocs.io/en/stable/100_references.html). What is written is uncompressed,
which both versions of the format allow.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llmvault.core.entries import Entry

Kind = str  # ``data`` or ``tree``
_CODES = {"data": 0, "tree": 1}
_COMPRESSED_FILE = b"\x02"
_DIRECTORY = 1 << 31  # Go's os.ModeDir
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in a pack.

    Attributes:
        id: SHA-256 of the plaintext.
        offset: where the sealed blob begins in the pack.
        length: bytes of the sealed blob.
        uncompressed: bytes of the plaintext where it was compressed before it was sealed; else 0.
    """

    id: bytes
    kind: Kind
    offset: int
    length: int
    uncompressed: int = 0


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that was written; `id` is the SHA-256 of the whole file."""

    id: str
    blobs: tuple[Blob, ...]


def pack_header(blobs: Iterable[Blob]) -> bytes:
    """Return the plaintext of a pack's header: kind, sealed length and id of each blob."""
    return b"".join(struct.pack("<BI32s", _CODES[b.kind], b.length, b.id) for b in blobs)


def header_length(sealed: int) -> bytes:
    """Return a pack's last four bytes: the length of the sealed header."""
    return struct.pack("<I", sealed)


def index_document(packs: Iterable[Pack]) -> bytes:
    """Return the plaintext of an index file."""
    named = [
        {
            "id": pack.id,
            "blobs": [
                {"id": b.id.hex(), "type": b.kind, "offset": b.offset, "length": b.length}
                for b in pack.blobs
            ],
        }
        for pack in packs
    ]
    return _json({"packs": named})


def parse_index(document: bytes) -> Iterable[Pack]:
    """Yield the packs of an index file.

    Raises:
        ValueError: when it is no index.
    """
    try:
        for pack in json.loads(document)["packs"]:
            yield Pack(pack["id"], tuple(_blob(raw) for raw in pack["blobs"]))
    except (KeyError, TypeError) as error:
        raise ValueError("no index of packs") from error


def _blob(raw: Mapping[str, Any]) -> Blob:
    return Blob(
        bytes.fromhex(raw["id"]),
        raw["type"],
        raw["offset"],
        raw["length"],
        raw.get("uncompressed_length", 0),
    )


def is_compressed(plaintext: bytes) -> bool:
    """Whether an index or snapshot file is zstd after its first byte."""
    return plaintext[:1] == _COMPRESSED_FILE


def file_node(entry: Entry, content: Sequence[bytes]) -> dict[str, Any]:
    """Return what a tree says of a file, as far as restic compares with it."""
    return {
        "name": entry.path.rpartition("/")[2],
        "type": "file",
        "mode": entry.mode & 0o777,
        **_times(entry),
        "uid": entry.uid,
        "gid": entry.gid,
        "inode": entry.inode,
        "device_id": entry.device,
        "size": entry.size,
        "links": entry.links,
        "content": [blob.hex() for blob in content],
    }


def directory_node(entry: Entry, subtree: str) -> dict[str, Any]:
    """Return what a tree says of a directory."""
    return {
        "name": entry.path.rpartition("/")[2],
        "type": "dir",
        "mode": _DIRECTORY | (entry.mode & 0o777),
        **_times(entry),
        "uid": entry.uid,
        "gid": entry.gid,
        "inode": entry.inode,
        "device_id": entry.device,
        "content": None,
        "subtree": subtree,
    }


def _times(entry: Entry) -> dict[str, str]:
    modified, changed = go_time(entry.mtime_ns), go_time(entry.ctime_ns)
    return {"mtime": modified, "atime": modified, "ctime": changed}


def go_time(nanoseconds: int) -> str:
    """Return a time in RFC 3339 with the nanoseconds, which Python's own type has not."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_tree(document: bytes) -> list[dict[str, Any]]:
    """Return the nodes of a tree.

    Raises:
        ValueError: when it is no tree.
    """
    raw = json.loads(document)
    if not isinstance(raw, dict) or not isinstance(raw.get("nodes"), list):
        raise ValueError("no tree")
    return list(raw["nodes"])


def tree_document(nodes: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a tree, its names in the order of their bytes: restic finds them by bisection."""
    ordered = sorted(nodes, key=lambda node: str(node["name"]).encode())
    return _json({"nodes": ordered}) + b"\n"


def snapshot_document(*, time: datetime, tree: str, path: str, host: str, tag: str) -> bytes:
    """Return a snapshot of one path."""
    return _json(
        {
            "time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "tree": tree,
            "paths": [path],
            "hostname": host,
            "tags": [tag],
        }
    )


def parse_snapshot_tree(document: bytes) -> str:
    """Return the id of a snapshot's tree.

    Raises:
        ValueError: when it is no snapshot.
    """
    raw = json.loads(document)
    if not isinstance(raw, dict) or not isinstance(raw.get("tree"), str):
        raise ValueError("no snapshot")
    return str(raw["tree"])


def lock_document(*, time: datetime, host: str, process: int, uid: int, gid: int) -> bytes:
    """Return a lock that others may hold at the same time."""
    return _json(
        {
            "time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "exclusive": False,
            "hostname": host,
            "username": "llmvault",
            "pid": process,
            "uid": uid,
            "gid": gid,
        }
    )


def is_exclusive(lock: bytes) -> bool:
    """Whether a lock shuts all others out; one that is not understood does."""
    try:
        return bool(json.loads(lock)["exclusive"])
    except (ValueError, KeyError, TypeError):
        return True


def is_plain(path: str) -> bool:
    """Whether every part of a path is written the same in restic's trees as here.

    restic escapes names as Go does; only those that need no escape are handled.
    """
    return path.isascii() and path.isprintable() and not {'"', "\\"} & {*path}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
