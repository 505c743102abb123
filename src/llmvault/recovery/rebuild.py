"""Making a ledger again out of a whole copy and what a manifest carries."""

from __future__ import annotations

import logging
from pathlib import Path

from llmvault.core.files import private_directory, write_durably
from llmvault.ledger.checkpoint import parse_checkpoint
from llmvault.ledger.files import CHECKPOINT, LedgerFiles
from llmvault.ledger.growth import Growth, grow
from llmvault.ledger.model import Checkpoint
from llmvault.ledger.writer import right_edge
from llmvault.recovery.found import damaged
from llmvault.recovery.model import Tail

_THING = "the copy of the ledger"
_log = logging.getLogger(__name__)


def lengthen(directory: Path, tail: Tail) -> bool:
    """Bring the ledger in a directory up to a tail's checkpoint; whether that made it longer.

    A tail that begins beyond the ledger's end cannot be joined to it, and is passed over.

    Raises:
        IntegrityError: when the two tell different stories, or the tail does not lead to its
            checkpoint.
    """
    files = LedgerFiles(directory)
    edge = _edge(files)
    checkpoint = parse_checkpoint(tail.note)
    if tail.first > edge.size:
        _log.warning("what came after entry %d is not in this repository", edge.size)
        return False
    _compare(files, edge.size, tail)
    new = tail.entries[max(0, edge.size - tail.first) :]
    if not new and edge.size:
        return False
    grown = grow(edge, new)
    if (grown.size, grown.root()) != (checkpoint.head.size, checkpoint.head.root):
        raise damaged(_THING, "the entries that a manifest carries do not lead to its checkpoint")
    for relative, data in grown.written.items():
        path = directory / relative
        private_directory(path.parent)
        path.write_bytes(data)
    write_durably(directory / CHECKPOINT, checkpoint.note.encode())
    return True


def _edge(files: LedgerFiles) -> Growth:
    if not files.exists():
        return Growth(0)
    return right_edge(files.directory, files.checkpoint().head)


def _compare(files: LedgerFiles, size: int, tail: Tail) -> None:
    """Compare the entries that both have."""
    end = min(size, tail.size)
    if tail.first >= end or not files.exists():
        return
    for index, data in files.raw_entries(size, tail.first):
        if index >= end:
            return
        if data != tail.entries[index - tail.first]:
            raise damaged(
                _THING, f"it is forked: two copies in this repository differ in entry {index}"
            )


def head_of(directory: Path) -> Checkpoint:
    """Return the newest checkpoint of the ledger in a directory."""
    return LedgerFiles(directory).checkpoint()
