"""The ledger of ``tests/vectors/ledger``, made anew from what it was made of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmvault.keys.note import SigningKey
from llmvault.ledger.checkpoint import proof_text
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.merkle import consistency_proof, tree_root
from llmvault.ledger.writer import TileLedger
from tests.fakes.stepping_clock import SteppingClock

VECTORS = Path(__file__).parents[2] / "vectors/ledger"
KEY = SigningKey("vectors.example/llmvault", bytes(range(32)))
SIZE = 300
PROVEN = (0, 1, 255, 256, 299)
LOG = LedgerFiles(VECTORS / "log")
GROWN = ((1, 300), (6, 8), (200, 256), (256, 300), (257, 299), (300, 300))


def make(directory: Path) -> None:
    """Write the vectors into a directory."""
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ledger = TileLedger(
        directory / "log", lambda: KEY, lambda: [KEY.verifier], SteppingClock(start), "gpu1"
    )
    ledger.begin(KEY.name)
    ledger.append_all([("vector.made", {"n": n, "word": "é" * (n % 7)}) for n in range(SIZE)])
    (directory / "log/lock").unlink()
    (directory / "ledger.pub").write_text(f"{KEY.verifier.text()}\n")
    for index in PROVEN:
        (directory / f"{index}.tlog-proof").write_text(proof_text(ledger.files.prove(index)))
    tree = ledger.files.tree(ledger.files.checkpoint().head)
    grown = [
        {
            "old": old,
            "new": new,
            "old_root": _text(tree_root(tree, old)),
            "new_root": _text(tree_root(tree, new)),
            "proof": [_text(one) for one in consistency_proof(tree, old, new)],
        }
        for old, new in GROWN
    ]
    (directory / "consistency.json").write_text(json.dumps(grown, indent=1) + "\n")


@dataclass(frozen=True)
class Grown:
    """A consistency proof of the vectors."""

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    proof: list[bytes]


def grown() -> list[Grown]:
    decode = base64.b64decode
    return [
        Grown(
            one["old"],
            one["new"],
            decode(one["old_root"]),
            decode(one["new_root"]),
            [decode(line) for line in one["proof"]],
        )
        for one in json.loads((VECTORS / "consistency.json").read_text())
    ]


def proof_of(index: int) -> str:
    return (VECTORS / f"{index}.tlog-proof").read_text()


def entry(index: int) -> bytes:
    return next(LOG.entries(index)).data


def bits_changed(raw: bytes) -> Iterator[bytes]:
    """Yield the bytes with one bit changed, at a few places."""
    for at in {0, len(raw) // 2, len(raw) - 1}:
        yield raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


if __name__ == "__main__":
    make(VECTORS)
