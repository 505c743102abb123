"""Keys of signed notes, and signatures with them (C2SP signed-note, Ed25519, type 0x01).

A note is text that ends in a line end, an empty line, and one line per signature::

    — NAME base64(key id, 4 bytes || signature, 64 bytes)

A key id is the first four bytes of SHA-256(NAME || 0x0A || 0x01 || public key). Specification:
https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from llmvault.core.errors import IntegrityError

_ED25519 = b"\x01"
_NAME = re.compile(r"[^\s+]+")
_DASH = "— "
_PRIVATE = "PRIVATE+KEY"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name that signs by it.

    Attributes:
        public: 32 bytes.
    """

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The key id: 4 bytes."""
        return _key_id(self.name, self.public)

    def text(self) -> str:
        """Return the key as one line: ``NAME+HEXID+BASE64``."""
        return _line(self.name, self.id, self.public)

    def pem(self) -> bytes:
        """Return the public key as PEM, for openssl."""
        key = Ed25519PublicKey.from_public_bytes(self.public)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether a raw Ed25519 signature (64 bytes) of a message is by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name that signs by it.

    Attributes:
        seed: 32 secret bytes.
    """

    name: str
    seed: bytes = field(repr=False)

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return VerifierKey(self.name, public.public_bytes_raw())

    def text(self) -> str:
        """Return the secret as one line: ``PRIVATE+KEY+NAME+HEXID+BASE64``."""
        return f"{_PRIVATE}+{_line(self.name, self.verifier.id, self.seed)}"

    def sign(self, message: bytes) -> bytes:
        """Return the raw Ed25519 signature (64 bytes) of a message."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


def new_signing_key(name: str) -> SigningKey:
    """Draw a key.

    Raises:
        ValueError: when the name is empty or holds white space or a plus sign.
    """
    _checked(name)
    return SigningKey(name, Ed25519PrivateKey.generate().private_bytes_raw())


def parse_verifier(line: str) -> VerifierKey:
    """Read a public key.

    Raises:
        IntegrityError: when it is none, or its id is not its own.
    """
    name, raw = _parsed(line.strip())
    return VerifierKey(name, raw)


def parse_signer(line: str) -> SigningKey:
    """Read a private key.

    Raises:
        IntegrityError: when it is none, or its id is not its own.
    """
    text = line.strip()
    if not text.startswith(f"{_PRIVATE}+"):
        raise IntegrityError("signing key", "it is no private key of a signed note")
    name, seed = _parsed(text.removeprefix(f"{_PRIVATE}+"), private=True)
    return SigningKey(name, seed)


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """Return a signed note.

    Args:
        text: ends in a line end and holds no empty line.
    """
    lines = (_signature_line(key, text.encode()) for key in keys)
    return f"{text}\n{''.join(lines)}"


def add_signature(note: str, key: SigningKey) -> str:
    """Return a note with one more signature."""
    text, _ = split_note(note)
    return note + _signature_line(key, text.encode())


def split_note(note: str) -> tuple[str, str]:
    """Return a note's text and its signature lines.

    Raises:
        IntegrityError: when it has no signatures.
    """
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.startswith(_DASH) or not signatures.endswith("\n"):
        raise IntegrityError("note", "it is not signed")
    return f"{text}\n", signatures


def signers_of(note: str, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Return which of the keys signed a note; signatures by other keys are ignored.

    Raises:
        IntegrityError: when a signature that claims to be by one of the keys is not.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.id): key for key in keys}
    found = []
    for line in signatures.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        raw = _decoded(encoded)
        key = known.get((name, raw[:4]))
        if key is None:
            continue
        if not key.accepts(raw[4:], text.encode()):
            raise IntegrityError("note", f"the signature of {name} does not fit its text")
        found.append(key)
    return tuple(found)


def _signature_line(key: SigningKey, message: bytes) -> str:
    raw = key.verifier.id + key.sign(message)
    return f"{_DASH}{key.name} {base64.b64encode(raw).decode()}\n"


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _line(name: str, key_id: bytes, raw: bytes) -> str:
    return f"{name}+{key_id.hex()}+{base64.b64encode(_ED25519 + raw).decode()}"


def _parsed(text: str, *, private: bool = False) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _decoded(encoded)
    if raw[:1] != _ED25519 or len(raw) != 33:
        raise IntegrityError("key", "it is no Ed25519 key of a signed note")
    key = raw[1:]
    public = SigningKey(name, key).verifier.public if private else key
    if _NAME.fullmatch(name) is None or _key_id(name, public).hex() != key_id:
        raise IntegrityError("key", "its id does not belong to its name and value")
    return name, key


def _checked(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot name a key: no white space, no plus sign")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError("note", "a signature or key is no base64") from error
