"""Proofs, held against trees made by the definition."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import IntegrityError
from llmvault.evidence.model import Period
from llmvault.evidence.proofs import (
    Checkpoint,
    TlogProof,
    key_id,
    leaf_hash,
    parse_checkpoint,
    parse_proof,
    raw_key,
    root_of_leaf,
    root_of_range,
    signed_by,
)
from tests.fakes.evidence import BEGIN, END, FakeLedger, FakeSigner, holds


def ledger_of(size: int) -> tuple[FakeLedger, Checkpoint]:
    ledger = FakeLedger(FakeSigner())
    for number in range(size):
        ledger.add(BEGIN + timedelta(minutes=number), "test.done", {"number": number})
    part = ledger.part(Period(BEGIN, END))
    return ledger, parse_checkpoint(part.checkpoint)


def proof_of(ledger: FakeLedger, index: int) -> TlogProof:
    return parse_proof(ledger.proofs([index])[0])


@given(st.data())
def test_every_entry_leads_to_the_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    ledger, tree = ledger_of(size)
    leaf = leaf_hash(ledger.entries[index].raw)
    assert root_of_leaf(proof_of(ledger, index), size, leaf) == tree.root
    assert root_of_leaf(proof_of(ledger, index), size, leaf_hash(b"other")) != tree.root


@given(st.data())
def test_all_entries_between_two_proofs_lead_to_the_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    ledger, tree = ledger_of(size)
    leaves = [leaf_hash(entry.raw) for entry in ledger.entries[first : last + 1]]
    proofs = proof_of(ledger, first), proof_of(ledger, last)
    assert root_of_range(*proofs, size, leaves) == tree.root
    position = data.draw(st.integers(0, len(leaves) - 1))
    leaves[position] = leaf_hash(b"put in its place")
    # a changed end is noticed by its own proof, one between by the root
    found = root_of_range(*proofs, size, leaves)
    assert found != tree.root


def test_a_missing_entry_is_noticed() -> None:
    ledger, tree = ledger_of(9)
    leaves = [leaf_hash(entry.raw) for entry in ledger.entries]
    with pytest.raises(IntegrityError, match="8 for the indices 0 to 8"):
        root_of_range(proof_of(ledger, 0), proof_of(ledger, 8), tree.size, leaves[:-1])


def test_the_checkpoint_names_its_key() -> None:
    _, tree = ledger_of(3)
    signer, other = FakeSigner(), FakeSigner("other")
    signature = signed_by(tree, signer.public_pem)
    assert signature is not None
    assert holds(signer.public_pem, tree.body, signature)
    assert signed_by(tree, other.public_pem) is None
    assert raw_key(signer.public_pem) == signer.raw
    assert key_id(signer.public_pem) != key_id(other.public_pem)


@pytest.mark.parametrize(
    "note",
    [
        b"", b"\n\n", b"origin\n1\n\n\n", b"origin\n-1\nAAAA\n\n\xe2\x80\x94 a b\n",
        b"origin\n1\nnot base64\n\n", b"\xff\n1\nx\n\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(note: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_checkpoint(note)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 3", "index three"),
        lambda text: text.replace("index 3", "index 03"),
        lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.replace("index 3\n", "index 3\n?\n"),
        lambda text: "",
    ],
)
def test_what_is_no_proof_is_refused(change: Callable[[str], str]) -> None:
    ledger, _ = ledger_of(9)
    text = ledger.proofs([3])[0].decode()
    with pytest.raises(IntegrityError):
        parse_proof(change(text).encode())


def test_a_proof_may_carry_extra_data() -> None:
    ledger, _ = ledger_of(9)
    text = ledger.proofs([3])[0].decode()
    extra = base64.b64encode(b"anything").decode()
    assert parse_proof(text.replace("index", f"extra {extra}\nindex", 1).encode()).index == 3


def test_a_proof_of_the_wrong_length_is_refused() -> None:
    ledger, tree = ledger_of(9)
    proof = proof_of(ledger, 3)
    short = TlogProof(3, proof.path[:-1], proof.checkpoint)
    with pytest.raises(IntegrityError, match="3 hashes, where 4"):
        root_of_leaf(short, tree.size, leaf_hash(b""))
    with pytest.raises(IntegrityError, match="index 9 in a tree of 9"):
        root_of_leaf(TlogProof(9, (), b""), tree.size, leaf_hash(b""))


@pytest.mark.parametrize(
    "pem", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(IntegrityError):
        raw_key(pem)
