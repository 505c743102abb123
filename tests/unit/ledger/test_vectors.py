"""The test vectors of the ledger, and published ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError
from llmvault.core.verdict import Verdict
from llmvault.keys.note import parse_signer, parse_verifier, sign_note, signers_of, split_note
from llmvault.ledger.checkpoint import parse_checkpoint, parse_proof
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.merkle import consistent, leaf_hash
from llmvault.ledger.tiles import tiles_of
from llmvault.ledger.verify import Pin, verify_ledger
from tests.unit.ledger.vectors import (
    KEY,
    LOG,
    PROVEN,
    VECTORS,
    bits_changed,
    entry,
    grown,
    make,
    proof_of,
)

NOTES = VECTORS.parent / "signed-note"


def test_they_are_made_to_the_byte(tmp_path: Path) -> None:
    make(tmp_path)
    names = sorted(p.relative_to(VECTORS) for p in VECTORS.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in names:
        assert (tmp_path / name).read_bytes() == (VECTORS / name).read_bytes(), name
    tiles = {f"log/tile/{level}/{number:03}" for level, number, _ in tiles_of(300)}
    assert tiles == {f"{one}".split(".p/")[0] for one in names if "log/tile" in f"{one}"} - {
        "log/tile/entries/000",
        "log/tile/entries/001",
    }


def test_they_are_accepted_and_none_altered() -> None:
    key = parse_verifier((VECTORS / "ledger.pub").read_text())
    assert key == KEY.verifier
    pin = Pin("a copy", parse_checkpoint((VECTORS / "log/checkpoint").read_text()))
    checks = verify_ledger(LOG, [key], [pin])
    assert {check.verdict for check in checks} == {Verdict.PROVEN}
    for index in PROVEN:
        proof = parse_proof(proof_of(index))
        assert proof.shows(leaf_hash(entry(index)))
        assert signers_of(proof.checkpoint.note, [key]) == (key,)
        for other in bits_changed(entry(index)):
            assert not proof.shows(leaf_hash(other))
    for one in grown():
        assert consistent(one.old, one.new, one.old_root, one.new_root, one.proof)
        for other in bits_changed(one.new_root):
            assert not consistent(one.old, one.new, one.old_root, other, one.proof)


def test_the_published_note_is_accepted_and_signed_alike() -> None:
    """The example of Go's ``sumdb/note``, of which C2SP's signed-note is the specification."""
    note = (NOTES / "peter-neumann.note").read_text()
    key = parse_verifier((NOTES / "peter-neumann.pub").read_text())
    assert signers_of(note, [key]) == (key,)
    with pytest.raises(IntegrityError):
        signers_of(note.replace("answer", "answers"), [key])
    signer = parse_signer(
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    )
    assert signer.verifier == key
    assert sign_note(split_note(note)[0], [signer]) == note


def test_the_example_of_the_specification_is_split_at_its_last_empty_line() -> None:
    """The example of https://c2sp.org/signed-note, whose key is not published."""
    note = (NOTES / "quasimodo.note").read_text()
    text, signatures = split_note(note)
    assert text.splitlines()[-1] == "ed è subito sera."
    assert signatures.startswith("— quasimodo.example/salvatore NnugSzTj")
    assert signers_of(note, [KEY.verifier]) == ()


def test_a_log_with_one_bit_changed_is_found(tmp_path: Path) -> None:
    for name in sorted(p.relative_to(VECTORS) for p in (VECTORS / "log").rglob("*") if p.is_file()):
        shutil.rmtree(tmp_path / "log", ignore_errors=True)
        shutil.copytree(VECTORS / "log", tmp_path / "log")
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(next(bits_changed(raw)))
        checks = verify_ledger(LedgerFiles(tmp_path / "log"), [KEY.verifier], [])
        assert Verdict.FAILED in {check.verdict for check in checks}, name
