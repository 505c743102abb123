"""What evidence asks of keys and of the ledger, as Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmvault.evidence.model import LedgerPart, Period


class Signer(Protocol):
    """A signing key of this installation."""

    @property
    def public_pem(self) -> bytes:
        """The Ed25519 public key as ``openssl pkey -pubin`` reads it (RFC 8410, PEM)."""

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature (RFC 8032, 64 bytes) over `data`."""


class SignatureCheck(Protocol):
    """Verifies signatures; needs no state and no private key."""

    def __call__(self, public_pem: bytes, data: bytes, signature: bytes) -> bool:
        """Whether `signature` is the key's Ed25519 signature over `data`; False for a bad key."""


class LedgerView(Protocol):
    """The ledger as evidence reads it."""

    def part(self, period: Period) -> LedgerPart:
        """Return the entries of a period, all between the first and the last of them.

        Raises:
            UnavailableError: when the ledger cannot be read.
            IntegrityError: when it is not what its checkpoint says.
        """

    def proofs(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """Return a ``tlog-proof`` (C2SP) for each index against the checkpoint of the last part."""
