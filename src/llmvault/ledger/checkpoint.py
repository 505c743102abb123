"""Checkpoints and proofs as text (C2SP tlog-checkpoint, tlog-proof). Pure.

A checkpoint is a signed note of three lines: origin, size, base64 of the root. A proof is::

    c2sp.org/tlog-proof@v1
    index 73894
    <base64 of each hash of the inclusion proof, a line each>

    <checkpoint>

Specifications: https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from llmvault.core.errors import IntegrityError
from llmvault.ledger.merkle import HASH_SIZE, root_from_inclusion
from llmvault.ledger.model import Checkpoint, Head

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_THING = "checkpoint"


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in the ledger.

    Attributes:
        path: hashes from the leaf up.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint

    def shows(self, leaf: bytes) -> bool:
        """Whether the leaf with this hash is at the index under the checkpoint's root.

        Says nothing of who signed the checkpoint.
        """
        head = self.checkpoint.head
        return root_from_inclusion(leaf, self.index, head.size, self.path) == head.root


def head_text(head: Head) -> str:
    """Return the text that is signed."""
    return f"{head.origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"


def parse_checkpoint(note: str) -> Checkpoint:
    """Read a checkpoint; its signatures are not looked at.

    Raises:
        IntegrityError: when it is none.
    """
    text, blank, _ = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) != 3 or not lines[0]:
        raise IntegrityError(_THING, "it does not have three lines and signatures")
    origin, size, root = lines
    if not size.isascii() or not size.isdigit() or str(int(size)) != size:
        raise IntegrityError(_THING, "its size is no number")
    return Checkpoint(Head(origin, int(size), _hash(root)), note)


def proof_text(proof: Proof) -> str:
    """Return a ``tlog-proof``."""
    path = "".join(f"{base64.b64encode(one).decode()}\n" for one in proof.path)
    return f"{PROOF_HEADER}\nindex {proof.index}\n{path}\n{proof.checkpoint.note}"


def parse_proof(text: str) -> Proof:
    """Read a ``tlog-proof``; an ``extra`` line is passed over.

    Raises:
        IntegrityError: when it is none.
    """
    head, blank, note = text.partition("\n\n")
    lines = [line for line in head.split("\n") if not line.startswith("extra ")]
    index = lines[1].removeprefix("index ") if len(lines) > 1 else ""
    if not blank or lines[0] != PROOF_HEADER or not index.isascii() or not index.isdigit():
        raise IntegrityError("proof", "it is no tlog-proof")
    return Proof(int(index), _hashes(lines[2:]), parse_checkpoint(note))


def _hashes(lines: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(_hash(line) for line in lines)


def _hash(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError(_THING, "a hash is no base64") from error
    if len(raw) != HASH_SIZE:
        raise IntegrityError(_THING, "a hash does not have 32 bytes")
    return raw
