"""Checkpoints and proofs as text, and what openssl says of them."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.keys.note import (
    add_signature,
    new_signing_key,
    parse_signer,
    parse_verifier,
    sign_note,
    signers_of,
    split_note,
)
from llmvault.keys.store import KeyFiles
from llmvault.ledger.checkpoint import parse_checkpoint, parse_proof, proof_text
from llmvault.ledger.merkle import leaf_hash
from llmvault.ledger.rotation import rotate_key
from llmvault.ledger.verify import Pin, verify_ledger
from llmvault.ledger.writer import TileLedger

# The example of the C2SP tlog-checkpoint specification (https://c2sp.org/tlog-checkpoint).
C2SP_CHECKPOINT = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""  # noqa: E501


def test_the_example_of_the_specification_is_read() -> None:
    found = parse_checkpoint(C2SP_CHECKPOINT)
    assert found.head.origin == "example.com/behind-the-sofa"
    assert found.head.size == 20_852_163
    assert base64.b64encode(found.head.root).decode() == (
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    )
    text, signatures = split_note(C2SP_CHECKPOINT)
    assert text.count("\n") == 3
    assert signatures.startswith("— example.com/behind-the-sofa Az3grl")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_accepts_the_signature(ledger: TileLedger, keys: KeyFiles, tmp_path: Path) -> None:
    ledger.append("t.e", {})
    text, signatures = split_note(ledger.files.checkpoint().note)
    raw = base64.b64decode(signatures.split(" ")[-1])
    (tmp_path / "text").write_text(text)
    (tmp_path / "signature").write_bytes(raw[4:])
    (tmp_path / "key.pem").write_bytes(keys.verifiers()[0].pem())
    argv = (
        "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin",
        "-in", "text", "-sigfile", "signature",
    )  # fmt: skip
    good = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (0, "Signature Verified Successfully")
    (tmp_path / "text").write_text(text.replace("1", "2", 1))
    bad = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bad.returncode != 0


def test_a_proof_survives_being_text(ledger: TileLedger) -> None:
    ledger.append_all([("t.e", {"n": n}) for n in range(300)])
    for index in (0, 255, 256, 299):
        proof = ledger.files.prove(index)
        text = proof_text(proof)
        assert text.startswith(f"c2sp.org/tlog-proof@v1\nindex {index}\n")
        again = parse_proof(text)
        assert again == proof
        entry = next(ledger.files.entries(index))
        assert again.shows(leaf_hash(entry.data))
        assert not again.shows(leaf_hash(entry.data + b" "))
        extra = text.replace("index", "extra YQ==\nindex", 1)
        assert parse_proof(extra) == proof


@given(st.text(max_size=200))
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    for parse in (parse_checkpoint, parse_proof):
        with pytest.raises(IntegrityError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n-1\nAAAA\n\n— x y\n",
        "origin\n01\nAAAA\n\n— x y\n",
        "origin\n1\nno base64\n\n— x y\n",
        "origin\n1\nAAAA\n\n— x y\n",
        "origin\n1\n\n— x y\n",
        "\n1\nAAAA\n\n— x y\n",
    ],
)
def test_bad_heads(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_checkpoint(text)


def test_keys_survive_being_text() -> None:
    key = new_signing_key("host/llmvault/x")
    assert parse_signer(key.text()) == key
    assert parse_verifier(key.verifier.text()) == key.verifier
    assert key.seed.hex() not in repr(key)
    name, key_id, rest = key.verifier.text().split("+", 2)
    for wrong in (
        f"other+{key_id}+{rest}",
        f"{name}+00000000+{rest}",
        f"{name}+{key_id}+AAAA",
        f"{name}+{key_id}+?",
        "",
    ):
        with pytest.raises(IntegrityError):
            parse_verifier(wrong)
    with pytest.raises(IntegrityError):
        parse_signer(key.verifier.text())
    with pytest.raises(ValueError, match="cannot name a key"):
        new_signing_key("a b")


def test_notes_of_several_keys() -> None:
    one, two, three = (new_signing_key(name) for name in ("one", "two", "three"))
    note = add_signature(sign_note("text\n", [one]), two)
    known = [key.verifier for key in (one, two, three)]
    assert signers_of(note, known) == (one.verifier, two.verifier)
    assert signers_of(note, [three.verifier]) == ()
    with pytest.raises(IntegrityError, match="does not fit its text"):
        signers_of(note.replace("text", "test", 1), known)
    with pytest.raises(IntegrityError, match="not signed"):
        signers_of("text\n", known)


def test_rotation_is_signed_over_by_the_old_key(ledger: TileLedger, keys: KeyFiles) -> None:
    ledger.append("t.e", {})
    pin = Pin("elsewhere", ledger.files.checkpoint())
    old = keys.verifiers()[0]
    rotation = rotate_key(ledger, keys)
    assert (rotation.signed_over, rotation.old) == (True, old)
    note = ledger.files.checkpoint().note
    assert signers_of(note, [old]) == (old,)
    assert signers_of(note, [rotation.new]) == (rotation.new,)
    entry = next(ledger.files.entries(rotation.index))
    assert entry.facts == {"new": rotation.new.text(), "old": old.text(), "old_signs": True}
    assert ledger.append("t.e", {}) == 2
    assert signers_of(ledger.files.checkpoint().note, [old]) == ()
    checks = verify_ledger(ledger.files, keys.verifiers(), [pin])
    assert {check.verdict.value for check in checks} == {"proven"}


def test_a_lost_key_is_replaced_and_said_so(ledger: TileLedger, keys: KeyFiles) -> None:
    ledger.append("t.e", {})
    keys.private_path.unlink()
    rotation = rotate_key(ledger, keys)
    assert not rotation.signed_over
    entry = next(ledger.files.entries(rotation.index))
    assert entry.facts["old_signs"] is False
    assert ledger.append("t.e", {}) == 2


def test_a_key_that_others_may_read_is_not_used(ledger: TileLedger, keys: KeyFiles) -> None:
    keys.private_path.chmod(0o640)
    with pytest.raises(RefusedError, match="others may read it"):
        ledger.append("t.e", {})
    assert rotate_key(ledger, keys).signed_over
    assert keys.private_path.stat().st_mode & 0o777 == 0o600
    assert ledger.append("t.e", {}) == 1


def test_a_key_that_is_none(ledger: TileLedger, keys: KeyFiles) -> None:
    keys.private_path.write_text("hello\n")
    with pytest.raises(IntegrityError):
        ledger.append("t.e", {})
    keys.public_path.unlink()
    with pytest.raises(UnavailableError):
        keys.verifiers()
