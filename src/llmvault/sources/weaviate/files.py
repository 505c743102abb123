"""What lies in the directory of a backup, read without a server.

``backup_config.json`` tells of the whole (id, status, nodes with their classes, versions), and each
node has a directory with ``backup.json`` and the chunks that this names. As Weaviate's
``entities/backup`` and ``usecases/backup`` write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.core.errors import IntegrityError
from llmvault.sources.formats.documents import read_document

CONFIG = "backup_config.json"
_DONE = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup, as its own files describe it.

    Attributes:
        version: of the server that made it; empty when it is not told.
        nodes: node -> collections that it held.
    """

    name: str
    status: str
    version: str
    nodes: Mapping[str, tuple[str, ...]]

    @property
    def collections(self) -> tuple[str, ...]:
        """Every collection in it."""
        return tuple(sorted({name for held in self.nodes.values() for name in held}))


def read_taken(root: Path) -> Taken:
    """Return what the files of a backup say of it.

    Raises:
        IntegrityError: when they are no backup.
    """
    document = _document(root / CONFIG)
    nodes = document.get("nodes")
    if not isinstance(nodes, dict) or not document.get("id"):
        raise IntegrityError(f"backup {root}", f"{CONFIG} names no backup and no nodes")
    return Taken(
        name=str(document["id"]),
        status=str(document.get("status", "")),
        version=str(document.get("serverVersion") or ""),
        nodes={str(node): _texts(one.get("classes")) for node, one in nodes.items()},
    )


def backup_problem(root: Path, collections: Iterable[str]) -> str:
    """Return what is wrong with the files of a backup; empty when all its parts are there."""
    try:
        taken = read_taken(root)
        if taken.status != _DONE:
            return f"its status is {taken.status!r}, not {_DONE}"
        if absent := sorted(set(collections) - set(taken.collections)):
            return f"collection {absent[0]} is not in it"
        return next(filter(None, (_node_problem(root, node) for node in taken.nodes)), "")
    except IntegrityError as error:
        return f"{error.thing}: {error.cause}"


def _node_problem(root: Path, node: str) -> str:
    if "/" in node or node in ("", ".", ".."):
        return "a node has an impossible name"
    document = _document(root / node / "backup.json")
    if document.get("status") != _DONE:
        return f"the status of node {node} is {document.get('status')!r}"
    for one in document.get("classes") or ():
        for chunk in one.get("chunks") or ():
            name = f"chunk-{chunk}"
            if not (root / node / str(one.get("name")) / name).is_file():
                return f"{name} of collection {one.get('name')} on node {node} is not there"
    return ""


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = read_document(path, path.name, fault="backup-invalid")
    except OSError as error:
        raise IntegrityError(str(path), f"it cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise IntegrityError(str(path), "it is no JSON object")
    return document


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
