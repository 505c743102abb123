"""Signatures of ``ssh-keygen -Y sign``, taken apart. Pure.

Follows OpenSSH's PROTOCOL.sshsig (the armour and its six fields) and PROTOCOL.u2f (what a hardware
key appends to a signature: flags, then a counter). ``ssh-keygen -Y verify`` proves a signature but
looks at neither flag nor counter, so they are read here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from llmvault.core.errors import IntegrityError

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_VERSION = 1
_TOUCHED, _VERIFIED = 0x01, 0x04
_HARDWARE = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")


@dataclass(frozen=True, slots=True)
class SshSignature:
    """What a signature says of itself; nothing of it is proven yet.

    Attributes:
        key_type: e.g. ``ssh-ed25519``.
        public_key: ``TYPE BASE64``, as in a ``.pub`` file without its comment.
        namespace: what it was made for.
        hardware: whether the key is kept in hardware (FIDO).
        touched: the hardware's flag "user present"; False for other keys.
        verified: the hardware's flag "user verified" (PIN or finger); False for other keys.
        counter: the hardware's count of signatures; 0 when it does not count, and for other keys.
    """

    key_type: str
    public_key: str
    namespace: str
    hardware: bool
    touched: bool
    verified: bool
    counter: int


def parse_signature(armoured: str) -> SshSignature:
    """Return what is in an armoured signature.

    Raises:
        IntegrityError: when it is not one, or holds more or less than the format allows.
    """
    try:
        return _parse(_dearmoured(armoured))
    except (ValueError, binascii.Error, UnicodeDecodeError) as error:
        raise IntegrityError("SSH signature", f"it is not in the documented form: {error}") from (
            error
        )


def fingerprint(public_key: str) -> str:
    """Return ``SHA256:…`` of a public key, as ``ssh-keygen -l`` shows it."""
    blob = base64.b64decode(public_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _dearmoured(text: str) -> bytes:
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("the lines that begin and end it are missing")
    return base64.b64decode("".join(lines[1:-1]), validate=True)


def _parse(data: bytes) -> SshSignature:
    if data[:6] != _MAGIC:
        raise ValueError("it does not begin with SSHSIG")
    fields = _Fields(data, 6)
    if (version := fields.number()) != _VERSION:
        raise ValueError(f"version {version} is not known")
    key, namespace, _reserved = fields.text(), fields.text(), fields.text()
    fields.text()  # the hash algorithm, which ssh-keygen checks
    signature = fields.text()
    fields.end()
    key_type = _Fields(key).text().decode("ascii")
    flags, counter = _hardware(signature, key_type)
    return SshSignature(
        key_type=key_type,
        public_key=f"{key_type} {base64.b64encode(key).decode()}",
        namespace=namespace.decode("utf-8"),
        hardware=key_type in _HARDWARE,
        touched=bool(flags & _TOUCHED),
        verified=bool(flags & _VERIFIED),
        counter=counter,
    )


def _hardware(signature: bytes, key_type: str) -> tuple[int, int]:
    """Return flags and counter of a signature; (0, 0) when its key is not kept in hardware."""
    fields = _Fields(signature)
    kind = fields.text().decode("ascii")
    fields.text()
    if key_type not in _HARDWARE:
        fields.end()
        return 0, 0
    if kind != key_type:
        raise ValueError(f"a signature of type {kind} cannot be of a key of type {key_type}")
    flags, counter = fields.byte(), fields.number()
    fields.end()
    return flags, counter


class _Fields:
    """Reads the fields of RFC 4251, section 5, one after the other."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data, self._position = data, position

    def _take(self, count: int) -> bytes:
        piece = self._data[self._position : self._position + count]
        if len(piece) != count:
            raise ValueError("it is cut short")
        self._position += count
        return piece

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def text(self) -> bytes:
        return self._take(self.number())

    def end(self) -> None:
        if self._position != len(self._data):
            raise ValueError("something follows after its end")
