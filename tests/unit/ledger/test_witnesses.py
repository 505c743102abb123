"""What is kept outside: directories and commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.core.verdict import Verdict
from llmvault.ledger.witnesses import build_witnesses, pins_of, publish, read_pins
from llmvault.ledger.writer import TileLedger
from llmvault.policy.ledger import LedgerPolicy
from tests.unit.ledger.conftest import ORIGIN

RUNNER = LocalRunner(os.environ)


def policy(place: Path) -> LedgerPolicy:
    kept = place / "kept"
    shell = ("sh", "-c")
    return LedgerPolicy.model_validate(
        {
            "witnesses": {
                "share": {"kind": "directory", "path": str(place / "share")},
                "mail": {
                    "kind": "command",
                    "publish": [*shell, f"cat > {kept}"],
                    "fetch": [*shell, f"cat {kept} 2>/dev/null || true"],
                },
            }
        }
    )


def test_every_witness_gets_and_gives_back_the_newest(ledger: TileLedger, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    witnesses = build_witnesses(policy(tmp_path), RUNNER)
    pins, silent = pins_of(witnesses, ORIGIN)
    assert pins == ()
    assert [check.verdict for check in silent] == [Verdict.UNPROVEN] * 2
    for size in (1, 2):
        ledger.append("t.e", {})
        for _ in range(2):
            checks = publish(witnesses, ledger.files.checkpoint())
            assert [check.verdict for check in checks] == [Verdict.PROVEN] * 2
        pins, silent = pins_of(witnesses, ORIGIN)
        assert silent == ()
        assert [(pin.where, pin.checkpoint.head.size) for pin in pins] == [
            ("share", size),
            ("mail", size),
        ]
    assert len(list((tmp_path / "share").rglob("*.checkpoint"))) == 2
    assert pins_of({"share": witnesses["share"]}, "other/ledger")[0] == ()


def test_a_witness_that_is_away_is_unproven(ledger: TileLedger, tmp_path: Path) -> None:
    failing = LedgerPolicy.model_validate(
        {
            "witnesses": {
                "mail": {
                    "kind": "command",
                    "publish": ["sh", "-c", "echo no route >&2; exit 7"],
                    "fetch": ["sh", "-c", "sleep 60"],
                    "timeout": "0.2s",
                },
                "share": {"kind": "directory", "path": str(tmp_path / "file")},
            }
        }
    )
    (tmp_path / "file").write_text("no directory")
    witnesses = build_witnesses(failing, RUNNER)
    checks = publish(witnesses, ledger.files.checkpoint())
    assert [check.verdict for check in checks] == [Verdict.UNPROVEN] * 2
    assert "exit code 7: no route" in checks[0].detail
    pins, silent = pins_of(witnesses, ORIGIN)
    assert pins == ()
    assert [check.verdict for check in silent] == [Verdict.UNPROVEN] * 2


def test_a_witness_that_answers_nonsense_fails(ledger: TileLedger) -> None:
    answers = LedgerPolicy.model_validate(
        {"witnesses": {"x": {"kind": "command", "publish": ["true"], "fetch": ["echo", "hello"]}}}
    )
    _, silent = pins_of(build_witnesses(answers, RUNNER), ORIGIN)
    assert [check.verdict for check in silent] == [Verdict.FAILED]


def test_checkpoints_in_files(ledger: TileLedger, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text(ledger.files.checkpoint().note)
    assert read_pins([kept])[0].checkpoint == ledger.files.checkpoint()
    kept.write_text("hello")
    with pytest.raises(IntegrityError):
        read_pins([kept])
    with pytest.raises(UnavailableError):
        read_pins([tmp_path / "none"])
