"""The ledger as evidence reads it, its head signed by the key that signs the evidence.

A bundle is verified with one public key; so the head that the ledger's own checkpoint states is
stated once more, under the name of that key.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llmvault.core.errors import IntegrityError
from llmvault.evidence.model import LedgerEntry, LedgerPart, Period
from llmvault.evidence.ports import Signer
from llmvault.evidence.proofs import key_id, raw_key
from llmvault.keys.note import VerifierKey
from llmvault.ledger.checkpoint import Proof, head_text, proof_text
from llmvault.ledger.entries import read_entry
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.merkle import EMPTY_ROOT, inclusion_proof, tree_root
from llmvault.ledger.model import Checkpoint, Head

_NAMED = 16


@dataclass
class TileView:
    """A ledger in files, at the head that it had when a part of it was asked for."""

    files: LedgerFiles
    signer: Signer
    _head: Head = field(default_factory=lambda: Head("", 0, EMPTY_ROOT), repr=False)
    _note: str = field(default="", repr=False)

    def part(self, period: Period) -> LedgerPart:
        """Return the entries of a period; see ``LedgerView``."""
        self._head = self._present()
        pem = self.signer.public_pem
        origin = f"llmvault/{key_id(pem)[:_NAMED]}"
        text = head_text(Head(origin, self._head.size, self._head.root))
        raw = VerifierKey(origin, raw_key(pem)).id + self.signer.sign(text.encode())
        self._note = f"{text}\n— {origin} {base64.b64encode(raw).decode()}\n"
        entries = list(self._entries())
        inside = [at for at, entry in enumerate(entries) if period.holds(entry.time)]
        kept = entries[inside[0] : inside[-1] + 1] if inside else []
        return LedgerPart(self._note.encode(), tuple(kept))

    def proofs(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """Return a proof for each index; see ``LedgerView``."""
        tree, size = self.files.tree(self._head), self._head.size
        stated = Checkpoint(self._head, self._note)
        return tuple(
            proof_text(Proof(index, inclusion_proof(tree, index, size), stated)).encode()
            for index in indices
        )

    def _present(self) -> Head:
        if not self.files.exists():
            return Head("", 0, EMPTY_ROOT)
        head = self.files.checkpoint().head
        if tree_root(self.files.tree(head), head.size) != head.root:
            raise IntegrityError(
                "ledger", "its tiles do not lead to its checkpoint", "run: llmvault ledger verify"
            )
        return head

    def _entries(self) -> Iterator[LedgerEntry]:
        if not self._head.size:
            return
        start = self.files.minimum_index()
        for index, data in self.files.raw_entries(self._head.size, start):
            entry = read_entry(index, data)
            yield LedgerEntry(index, entry.at, entry.kind, entry.facts, data)
