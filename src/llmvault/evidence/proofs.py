"""Proofs that entries are in the ledger, checked from their bytes alone. Pure.

Checkpoints and proofs are those of C2SP: https://c2sp.org/signed-note,
https://c2sp.org/tlog-checkpoint and https://c2sp.org/tlog-proof; hashes are those of RFC 6962.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmvault.core.errors import IntegrityError

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_ED25519 = b"\x01"
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s(.+?)-----END PUBLIC KEY-----", re.DOTALL)
_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: SubjectPublicKeyInfo, Ed25519
_NUMBER = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree as somebody signed it.

    Attributes:
        origin: which log.
        body: the bytes that are signed.
        signatures: name, four bytes of key id, signature.
    """

    origin: str
    size: int
    root: bytes
    body: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's way up to the root of a checkpoint."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Return a signed checkpoint.

    Raises:
        IntegrityError: when it is not in the documented form.
    """
    try:
        text, separator, lines = note.decode("utf-8").partition("\n\n")
        origin, size, root = text.split("\n")[:3]
        if not separator or not origin or not _NUMBER.fullmatch(size) or not lines.endswith("\n"):
            raise ValueError("it is not a signed note")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        digest = _unbase64(root)
        if len(digest) != hashlib.sha256().digest_size:
            raise ValueError("its root is no SHA-256")
    except (ValueError, UnicodeDecodeError) as error:
        raise IntegrityError("checkpoint", str(error)) from error
    return Checkpoint(origin, int(size), digest, f"{text}\n".encode(), signatures)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, name, encoded = line.split(" ")
    raw = _unbase64(encoded)
    if dash != "—" or len(raw) < len(b"key+"):
        raise ValueError("a line of it is no signature")
    return name, raw[:4], raw[4:]


def parse_proof(text: bytes) -> TlogProof:
    """Return a ``tlog-proof``.

    Raises:
        IntegrityError: when it is not in the documented form.
    """
    try:
        head, separator, checkpoint = text.decode("utf-8").partition("\n\n")
        header, *lines = head.split("\n")
        if lines and lines[0].startswith("extra "):
            lines = lines[1:]
        word, _, index = lines[0].partition(" ")
        if (header, word) != (PROOF_HEADER, "index") or not separator:
            raise ValueError("it is not a tlog-proof")
        if not _NUMBER.fullmatch(index):
            raise ValueError("its index is no number")
        path = tuple(_unbase64(line) for line in lines[1:])
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise IntegrityError("tlog-proof", str(error)) from error
    return TlogProof(int(index), path, checkpoint.encode())


def signed_by(checkpoint: Checkpoint, public_pem: bytes) -> bytes | None:
    """Return the signature that a key made on a checkpoint, unverified; None without one.

    Raises:
        IntegrityError: when the key cannot be read.
    """
    key = raw_key(public_pem)
    for name, key_id, signature in checkpoint.signatures:
        expected = hashlib.sha256(name.encode() + b"\n" + _ED25519 + key).digest()[:4]
        if name == checkpoint.origin and key_id == expected:
            return signature
    return None


def raw_key(public_pem: bytes) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in PEM.

    Raises:
        IntegrityError: when it is none.
    """
    der = key_der(public_pem)
    if not der.startswith(_DER_PREFIX) or len(der) != len(_DER_PREFIX) + 32:
        raise IntegrityError("public key", "it is no Ed25519 key", "give the key's .pem file")
    return der[len(_DER_PREFIX) :]


def key_der(public_pem: bytes) -> bytes:
    """Return the DER bytes of a public key in PEM.

    Raises:
        IntegrityError: when it is none.
    """
    found = _PEM.search(public_pem)
    try:
        if found is None:
            raise ValueError("there is no PUBLIC KEY block")
        return base64.b64decode(found[1])
    except ValueError as error:
        raise IntegrityError("public key", f"it is not PEM: {error}") from error


def key_id(public_pem: bytes) -> str:
    """Return the SHA-256 (64 hex digits) of a key's DER bytes; it names the key."""
    return hashlib.sha256(key_der(public_pem)).hexdigest()


def leaf_hash(raw: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(b"\x00" + raw).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of_leaf(proof: TlogProof, size: int, leaf: bytes) -> bytes:
    """Return the root that a proof leads to from a leaf's hash.

    Raises:
        IntegrityError: when the proof has not the length that index and size demand.
    """
    found = leaf
    for (begin, _), other in reversed(_spans(proof, size)):
        found = node_hash(found, other) if begin > proof.index else node_hash(other, found)
    return found


def root_of_range(first: TlogProof, last: TlogProof, size: int, leaves: Sequence[bytes]) -> bytes:
    """Return the root that follows from all leaves between two proofs, so that none can lack.

    Raises:
        IntegrityError: when the proofs and the number of leaves do not fit together.
    """
    if last.index - first.index + 1 != len(leaves):
        raise IntegrityError(
            "ledger entries", f"{len(leaves)} for the indices {first.index} to {last.index}"
        )
    outside = dict(_spans(first, size)) | dict(_spans(last, size))

    def root(begin: int, end: int) -> bytes:
        if end <= first.index or begin > last.index:
            return outside[begin, end]
        if end - begin == 1:
            return leaves[begin - first.index]
        middle = begin + _split(end - begin)
        return node_hash(root(begin, middle), root(middle, end))

    return root(0, size)


def _spans(proof: TlogProof, size: int) -> list[tuple[tuple[int, int], bytes]]:
    """Return the subtrees of a proof, the largest first, with their hashes."""
    if proof.index >= size:
        raise IntegrityError("tlog-proof", f"index {proof.index} in a tree of {size}")
    spans = list(_siblings(proof.index, size))
    if len(spans) != len(proof.path):
        raise IntegrityError(
            "tlog-proof", f"{len(proof.path)} hashes, where {len(spans)} lead to the root"
        )
    return list(zip(spans, reversed(proof.path), strict=True))


def _siblings(index: int, size: int) -> Iterator[tuple[int, int]]:
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            yield middle, end
            end = middle
        else:
            yield begin, middle
            begin = middle


def _split(count: int) -> int:
    """Return the largest power of two below a count of at least two (RFC 6962, 2.1)."""
    return 1 << (count - 1).bit_length() - 1


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text[:20]!r} is not base64") from error
