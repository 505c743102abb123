"""Ed25519 signatures (RFC 8032) with a key in a file of its owner's."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.files import private_directory, sync_directory


@dataclass(frozen=True)
class SigningKey:
    """A private key that was read; it is never shown."""

    _key: Ed25519PrivateKey = field(repr=False)

    @cached_property
    def public_pem(self) -> bytes:
        """The public key in PEM (RFC 8410)."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`, 64 bytes."""
        return self._key.sign(data)


def signing_key(path: Path) -> SigningKey:
    """Return the key in a file (PKCS#8, PEM), made now if there is none.

    Its public half is written beside it, as ``NAME.pub.pem``.

    Raises:
        RefusedError: when others may read it.
        IntegrityError: when the file holds no Ed25519 key.
        UnavailableError: when it cannot be read or written.
    """
    try:
        _make(path)
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise RefusedError(
                    f"signing key {path}",
                    f"others may read it (mode {mode:04o}), so its signatures prove nothing",
                    f"chmod 600 {path} if nobody did; otherwise make a new key",
                )
            found = load_pem_private_key(stream.read(), password=None)
    except OSError as error:
        raise UnavailableError(
            f"signing key {path}", str(error.strerror), "see its permissions"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IntegrityError(
            f"signing key {path}", "it cannot be read as a key in PEM", "bring it back from a copy"
        ) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise IntegrityError(f"signing key {path}", "it is no Ed25519 key")
    return SigningKey(found)


def public_path(path: Path) -> Path:
    """Return where the public half of a key is."""
    return path.with_suffix(".pub.pem")


def _make(path: Path) -> None:
    if path.exists():
        return
    key = Ed25519PrivateKey.generate()
    private_directory(path.parent)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    new = path.with_name(f".{os.getpid()}-{path.name}")
    _write(new, pem, 0o600)
    try:
        path.hardlink_to(new)
    except FileExistsError:  # somebody else made one at the same moment: theirs holds
        return
    finally:
        new.unlink()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(public_path(path), public, 0o644)
    sync_directory(path.parent)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def signature_holds(public_pem: bytes, data: bytes, signature: bytes) -> bool:
    """Whether a signature is a public key's over data; False when the key is none."""
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
