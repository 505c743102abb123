"""What the entries of a ledger tell that the catalog is made again from."""

from __future__ import annotations

from pathlib import Path

from llmvault.recovery.history import proofs
from tests.unit.ledger.conftest import open_at


def test_proofs_are_made_again_of_entries_that_tell_enough(tmp_path: Path) -> None:
    ledger = open_at(tmp_path)
    part = {"repository": "a", "part": 1, "parts": 4, "errors": 0, "verdict": "proven"}
    copied = {"repository": "far", "original": "a", "newest": "rp-1", "snapshots": 3}
    ledger.append_all(
        [
            ("verification.done", part),
            ("verification.started", {"repository": "a", "part": 2, "parts": 4}),
            ("verification.done", {**part, "part": 2, "verdict": "failed", "errors": 3}),
            ("tamper.tested", {"repository": "a", "verdict": "proven", "attempts": {"hide": "x"}}),
            ("copy.done", {**copied, "missing": 0}),
            ("copy.done", {**copied, "missing": 2}),
            ("copy.done", {"repository": "far", "snapshots": 1, "missing": 0}),
        ]
    )
    found = list(proofs(ledger.files, 1))
    assert [(one.kind, one.repository, one.verdict) for one in found] == [
        ("verification", "a", "failed"),
        ("tamper", "a", "proven"),
        ("copy", "far", "proven"),
        ("copy", "far", "unproven"),
    ]
    assert found[0].facts == {"part": 2, "parts": 4, "errors": 3}
    assert found[2].facts == {"newest": "rp-1", "missing": 0}
    assert len({one.id for one in found}) == 4
