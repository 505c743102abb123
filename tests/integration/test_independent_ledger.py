"""What implementations that are not ours say of the ledger's checkpoints and proofs.

Sigstore's client verifies inclusion and checkpoints, proofbundle whole ``tlog-proof`` files and
consistency. Neither shares code with llmvault.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from proofbundle.checkpoint import verify_checkpoint
from proofbundle.merkle import verify_consistency
from proofbundle.tlogproof import verify_tlog_proof
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore._utils import KeyID
from sigstore.errors import VerificationError
from sigstore.models import TransparencyLogEntry
from sigstore_models.common import v1 as common

from llmvault.ledger.checkpoint import Proof, parse_proof, proof_text
from tests.unit.ledger.vectors import KEY, LOG, PROVEN, bits_changed, entry, grown, proof_of

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("index", PROVEN)
def test_proofbundle_verifies_the_proofs(index: int) -> None:
    vkey = KEY.verifier.text()
    good = verify_tlog_proof(proof_of(index), entry(index), vkey, expected_origin=KEY.name)
    assert good["ok"], good
    assert (good["index"], good["tree_size"]) == (index, 300)
    for other in bits_changed(entry(index)):
        assert not verify_tlog_proof(proof_of(index), other, vkey)["ok"]
    proof = parse_proof(proof_of(index))
    for path in altered_paths(proof):
        text = proof_text(Proof(index, path, proof.checkpoint))
        assert not verify_tlog_proof(text, entry(index), vkey)["ok"]
    assert not verify_tlog_proof(proof_of(index), entry(index), vkey, expected_origin="other")["ok"]


def altered_paths(proof: Proof) -> Iterator[tuple[bytes, ...]]:
    yield proof.path[:-1]
    yield (*proof.path, proof.path[0])
    for at, one in enumerate(proof.path):
        for other in bits_changed(one):
            yield (*proof.path[:at], other, *proof.path[at + 1 :])


def test_proofbundle_verifies_consistency() -> None:
    for one in grown():
        assert verify_consistency(one.old, one.new, one.proof, one.old_root, one.new_root)
        for other in bits_changed(one.old_root):
            assert not verify_consistency(one.old, one.new, one.proof, other, one.new_root)
        for at, line in enumerate(one.proof):
            for other in bits_changed(line):
                path = [*one.proof[:at], other, *one.proof[at + 1 :]]
                assert not verify_consistency(one.old, one.new, path, one.old_root, one.new_root)


def test_proofbundle_verifies_the_checkpoint() -> None:
    note, vkey = LOG.checkpoint().note, KEY.verifier.text()
    found = verify_checkpoint(note, vkey)
    assert (found["ok"], found["origin"], found["tree_size"]) == (True, KEY.name, 300)
    assert not verify_checkpoint(note.replace("\n300\n", "\n299\n"), vkey)["ok"]


@pytest.mark.parametrize("index", PROVEN)
def test_sigstore_verifies_inclusion(index: int) -> None:
    proof = parse_proof(proof_of(index))
    verify_merkle_inclusion(sigstore_entry(proof, proof.path, entry(index)))
    for other in bits_changed(entry(index)):
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(sigstore_entry(proof, proof.path, other))
    for path in altered_paths(proof):
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(sigstore_entry(proof, path, entry(index)))


def sigstore_entry(proof: Proof, path: tuple[bytes, ...], body: bytes) -> TransparencyLogEntry:
    """Return what sigstore's client reads of an entry and its proof, all of it ours."""
    head = proof.checkpoint.head
    inclusion = SimpleNamespace(
        log_index=proof.index, tree_size=head.size, root_hash=head.root, hashes=list(path)
    )
    inner = SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=body)
    return cast("TransparencyLogEntry", SimpleNamespace(_inner=inner))


def test_sigstore_verifies_the_checkpoint() -> None:
    key = KEY.verifier
    der = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + key.public)
    public = common.PublicKey(
        raw_bytes=der, key_details=common.PublicKeyDetails.PKIX_ED25519, valid_for=None
    )
    ring = RekorKeyring(Keyring([public]))
    note = LOG.checkpoint().note
    good = SignedCheckpoint.from_text(note)
    good.signed_note.verify(ring, KeyID(key.id))
    assert (good.checkpoint.origin, good.checkpoint.log_size) == (key.name, 300)
    assert good.checkpoint.log_hash == LOG.checkpoint().head.root.hex()
    bad = SignedCheckpoint.from_text(note.replace("\n300\n", "\n299\n"))
    with pytest.raises(VerificationError, match="invalid signature"):
        bad.signed_note.verify(ring, KeyID(key.id))
