"""Verifying: whatever is changed, cut, forked or missing is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmvault.core.verdict import Verdict
from llmvault.keys.note import new_signing_key, sign_note
from llmvault.keys.store import KeyFiles
from llmvault.ledger.checkpoint import head_text
from llmvault.ledger.merkle import leaf_hash
from llmvault.ledger.model import Head
from llmvault.ledger.verify import Pin, verify_ledger
from llmvault.ledger.writer import TileLedger
from tests.unit.ledger.conftest import ORIGIN, open_at

COUNT = 600


def fill(ledger: TileLedger, count: int = COUNT, word: str = "") -> None:
    ledger.append_all([("t.e", {"n": n, "word": word}) for n in range(count)])


def verdicts(ledger: TileLedger, keys: KeyFiles, *pins: Pin) -> dict[str, Verdict]:
    checks = verify_ledger(ledger.files, keys.verifiers(), pins)
    return {check.name: check.verdict for check in checks}


def pin(ledger: TileLedger) -> Pin:
    return Pin("elsewhere", ledger.files.checkpoint())


def test_a_sound_ledger_is_proven(ledger: TileLedger, keys: KeyFiles) -> None:
    empty = pin(ledger)
    fill(ledger, 300)
    early = pin(ledger)
    fill(ledger, 300)
    found = verify_ledger(ledger.files, keys.verifiers(), (empty, early, pin(ledger)))
    assert [check.verdict for check in found] == [Verdict.PROVEN] * 6
    assert "its first 300 entries are those that were pinned" in {check.detail for check in found}


def test_without_anything_kept_outside_it_is_unproven(ledger: TileLedger, keys: KeyFiles) -> None:
    fill(ledger)
    found = verdicts(ledger, keys)
    assert found.pop("pinned") is Verdict.UNPROVEN
    assert set(found.values()) == {Verdict.PROVEN}


def all_files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and p.name != "lock")


def test_one_bit_changed_in_any_file_is_found(tmp_path: Path) -> None:
    ledger, keys = open_at(tmp_path), KeyFiles(tmp_path / "keys")
    fill(ledger)
    kept = pin(ledger)
    for path in all_files(ledger.directory):
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            data = bytearray(whole)
            data[position] ^= 1
            path.write_bytes(data)
            found = verdicts(ledger, keys, kept)
            assert Verdict.FAILED in found.values(), (path, position)
        path.write_bytes(whole)
    assert set(verdicts(ledger, keys, kept).values()) == {Verdict.PROVEN}


def test_any_missing_file_is_found(tmp_path: Path) -> None:
    ledger, keys = open_at(tmp_path), KeyFiles(tmp_path / "keys")
    fill(ledger)
    for path in all_files(ledger.directory):
        aside = tmp_path / "aside"
        path.rename(aside)
        assert Verdict.FAILED in verdicts(ledger, keys).values(), path
        aside.rename(path)


def test_an_older_ledger_is_refused(ledger: TileLedger, keys: KeyFiles, tmp_path: Path) -> None:
    fill(ledger, 300)
    shutil.copytree(ledger.directory, tmp_path / "old")
    fill(ledger, 10)
    kept = pin(ledger)
    shutil.rmtree(ledger.directory)
    shutil.copytree(tmp_path / "old", ledger.directory)
    found = verdicts(ledger, keys, kept)
    assert found.pop("pinned") is Verdict.FAILED
    assert set(found.values()) == {Verdict.PROVEN}


@pytest.mark.parametrize("count", [600, 900])
def test_a_rewritten_ledger_is_refused(tmp_path: Path, count: int) -> None:
    """Whoever holds the key can write another history, but not one that fits what was pinned."""
    ledger, keys = open_at(tmp_path), KeyFiles(tmp_path / "keys")
    fill(ledger, 600, "true")
    kept = pin(ledger)
    shutil.rmtree(ledger.directory)
    forged = open_at(tmp_path)
    fill(forged, count, "forged")
    found = verdicts(forged, keys, kept)
    assert found.pop("pinned") is Verdict.FAILED
    assert set(found.values()) == {Verdict.PROVEN}


def test_a_fork_is_found(tmp_path: Path) -> None:
    ledger, keys = open_at(tmp_path), KeyFiles(tmp_path / "keys")
    fill(ledger, 100, "common")
    shutil.copytree(ledger.directory, tmp_path / "fork")
    fill(ledger, 5, "here")
    here = pin(ledger)
    shutil.rmtree(ledger.directory)
    shutil.copytree(tmp_path / "fork", ledger.directory)
    fork = open_at(tmp_path)
    fill(fork, 50, "there")
    assert verdicts(fork, keys, here)["pinned"] is Verdict.FAILED


def test_a_ledger_of_another_installation(ledger: TileLedger, keys: KeyFiles) -> None:
    fill(ledger, 3)
    stranger = new_signing_key("other/llmvault/x")
    head = Head("other/llmvault/x", 3, leaf_hash(b""))
    foreign = Pin("elsewhere", type(pin(ledger).checkpoint)(head, ""))
    note = sign_note(head_text(head), [stranger])
    foreign = Pin("elsewhere", type(foreign.checkpoint)(head, note))
    assert verdicts(ledger, keys, foreign)["pinned"] is Verdict.FAILED
    checks = verify_ledger(ledger.files, [stranger.verifier], ())
    assert checks[0].verdict is Verdict.FAILED
    assert "none of this installation's keys" in checks[0].detail


def test_a_pin_by_an_unknown_key_proves_nothing(ledger: TileLedger, keys: KeyFiles) -> None:
    fill(ledger, 3)
    head = ledger.files.checkpoint().head
    note = sign_note(head_text(head), [new_signing_key(ORIGIN)])
    kept = Pin("elsewhere", type(ledger.files.checkpoint())(head, note))
    assert verdicts(ledger, keys, kept)["pinned"] is Verdict.UNPROVEN
