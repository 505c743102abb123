"""The real ledger through the eyes of evidence: its proofs hold by evidence's own verification."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import IntegrityError
from llmvault.evidence.ledger_view import TileView
from llmvault.evidence.model import Period
from llmvault.evidence.proofs import (
    leaf_hash,
    parse_checkpoint,
    parse_proof,
    root_of_leaf,
    root_of_range,
    signed_by,
)
from llmvault.keys.store import KeyFiles
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.writer import TileLedger
from tests.fakes.evidence import FakeSigner, holds

NOW = datetime.now(UTC)
ALWAYS = Period(NOW - timedelta(days=1), NOW + timedelta(days=1))


def ledger_of(directory: Path, count: int) -> LedgerFiles:
    keys = KeyFiles(directory / "keys")
    keys.make("host/llmvault/x")
    ledger = TileLedger(
        directory / "ledger", keys.signing_key, keys.verifiers, SystemClock(), "host"
    )
    ledger.begin("host/llmvault/x")
    if count:
        ledger.append_all([("backup.finished", {"n": n}) for n in range(count)])
    return ledger.files


@pytest.mark.parametrize("count", [1, 3, 256, 300])
def test_proofs_hold(tmp_path: Path, count: int) -> None:
    signer = FakeSigner()
    view = TileView(ledger_of(tmp_path, count), signer)
    part = view.part(ALWAYS)
    assert [entry.index for entry in part.entries] == list(range(count))
    tree = parse_checkpoint(part.checkpoint)
    signature = signed_by(tree, signer.public_pem)
    assert signature is not None
    assert holds(signer.public_pem, tree.body, signature)
    first, last = map(parse_proof, view.proofs([0, count - 1]))
    assert root_of_leaf(first, count, leaf_hash(part.entries[0].raw)) == tree.root
    leaves = [leaf_hash(entry.raw) for entry in part.entries]
    assert root_of_range(first, last, count, leaves) == tree.root


def test_where_nothing_was_entered_there_is_nothing(tmp_path: Path) -> None:
    for files in (LedgerFiles(tmp_path / "none"), ledger_of(tmp_path, 0)):
        part = TileView(files, FakeSigner()).part(ALWAYS)
        assert part.entries == ()
        assert parse_checkpoint(part.checkpoint).size == 0


def test_a_ledger_that_does_not_fit_its_checkpoint_is_refused(tmp_path: Path) -> None:
    files = ledger_of(tmp_path, 3)
    (tmp_path / "ledger/tile/0/000.p/3").write_bytes(bytes(96))
    with pytest.raises(IntegrityError, match="do not lead"):
        TileView(files, FakeSigner()).part(ALWAYS)
