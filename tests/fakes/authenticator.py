"""A hardware key (FIDO authenticator) in software: signs as one does, with flags and a counter."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

TOUCHED, VERIFIED = 0x01, 0x04
APPLICATION = b"ssh:"


def text(data: bytes) -> bytes:
    """Return a string of RFC 4251."""
    return len(data).to_bytes(4, "big") + data


def number(value: int) -> bytes:
    """Return an mpint of RFC 4251."""
    return text(value.to_bytes(value.bit_length() // 8 + 1, "big"))


@dataclass
class Authenticator:
    """One key of the type ``sk-ssh-ed25519@openssh.com``."""

    private: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    counter: int = 7

    kind = b"sk-ssh-ed25519@openssh.com"

    @property
    def blob(self) -> bytes:
        """The public key as SSH writes it."""
        raw = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return text(self.kind) + text(raw) + text(APPLICATION)

    @property
    def public_key(self) -> str:
        """The line of a ``.pub`` file."""
        return f"{self.kind.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, message: bytes, *, flags: int, namespace: bytes) -> str:
        """Return what ``ssh-keygen -Y sign`` would write, and count up."""
        self.counter += 1
        digest = hashlib.sha512(message).digest()
        signed = b"SSHSIG" + text(namespace) + text(b"") + text(b"sha512") + text(digest)
        tail = bytes([flags]) + self.counter.to_bytes(4, "big")
        data = hashlib.sha256(APPLICATION).digest() + tail + hashlib.sha256(signed).digest()
        signature = text(self.kind) + text(self.raw_signature(data)) + tail
        whole = b"SSHSIG" + (1).to_bytes(4, "big") + text(self.blob) + text(namespace)
        whole += text(b"") + text(b"sha512") + text(signature)
        lines = base64.encodebytes(whole).decode()
        return f"-----BEGIN SSH SIGNATURE-----\n{lines}-----END SSH SIGNATURE-----\n"

    def raw_signature(self, data: bytes) -> bytes:
        """Sign what a FIDO authenticator signs."""
        return self.private.sign(data)


@dataclass
class EcdsaAuthenticator(Authenticator):
    """One key of the type ``sk-ecdsa-sha2-nistp256@openssh.com``."""

    point: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"

    @property
    def blob(self) -> bytes:
        """The public key as SSH writes it."""
        raw = self.point.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return text(self.kind) + text(b"nistp256") + text(raw) + text(APPLICATION)

    def raw_signature(self, data: bytes) -> bytes:
        """Sign what a FIDO authenticator signs."""
        r, s = decode_dss_signature(self.point.sign(data, ec.ECDSA(hashes.SHA256())))
        return number(r) + number(s)
