"""Time stamps of a time stamp authority (RFC 3161): requests, and what responses prove.

Nothing here talks to a network. A response is kept as it came, so that ``openssl ts -verify`` can
judge it as well. Only SHA-256 is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from llmvault.core.errors import IntegrityError, UnavailableError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse, VerifierBuilder

_THING = "time stamp"


@dataclass(frozen=True, slots=True)
class StampRequest:
    """What is sent to an authority.

    Attributes:
        data: DER of a ``TimeStampReq``.
        nonce: the response must hold the same.
    """

    data: bytes
    nonce: int | None


def stamp_request(message: bytes) -> StampRequest:
    """Return the request for a stamp over the SHA-256 of a message.

    Raises:
        UnavailableError: when the library for it is not installed.
    """
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as error:
        raise _absent() from error
    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.build()
    return StampRequest(request.as_bytes(), request.nonce)


def stamped_at(
    response: bytes, message: bytes, trusted: Sequence[x509.Certificate], nonce: int | None = None
) -> datetime:
    """Return the time to which an authority stamped a message, in UTC.

    The signature, its chain to a trusted certificate as of that time, the purpose of the signer's
    certificate, the digest, and the nonce where one is given, are verified.

    Args:
        response: DER of a ``TimeStampResp``.
        trusted: certificates of :func:`read_certificates`.

    Raises:
        IntegrityError: when it is no stamp, is not trusted, or stamps something else.
        UnavailableError: when the library for it is not installed.
    """
    try:
        from rfc3161_client import VerificationError
    except ImportError as error:
        raise _absent() from error
    found = _decoded(response)
    builder = _builder(trusted)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        builder.build().verify_message(found, message)
    except (VerificationError, ValueError) as error:
        raise IntegrityError(_THING, f"it does not verify: {_short(error)}") from error
    return found.tst_info.gen_time.astimezone(UTC)


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file: the authority's root and what lies between.

    Raises:
        UnavailableError: when the file cannot be read.
        IntegrityError: when it holds none.
    """
    thing = f"certificates {path}"
    try:
        pem = path.read_bytes()
    except OSError as error:
        cause = error.strerror or str(error)
        raise UnavailableError(thing, f"cannot be read: {cause}", "ask the authority") from error
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise IntegrityError(thing, "the file holds no certificates in PEM") from error


def _builder(trusted: Sequence[x509.Certificate]) -> VerifierBuilder:
    from rfc3161_client import VerifierBuilder

    roots = [one for one in trusted if one.issuer == one.subject]
    if not roots:
        cause = "none of the trusted certificates is a root (signed by itself)"
        raise IntegrityError(_THING, cause, "add the authority's root certificate")
    between = [one for one in trusted if one not in roots]
    return VerifierBuilder(roots=roots, intermediates=between)


def _decoded(response: bytes) -> TimeStampResponse:
    from rfc3161_client import PKIStatus, decode_timestamp_response

    try:
        found = decode_timestamp_response(response)
        status = PKIStatus(found.status)
        said = ", ".join(found.status_string)
    except ValueError as error:
        cause = f"the answer is none of RFC 3161: {_short(error)}"
        raise IntegrityError(_THING, cause) from error
    if status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        cause = f"the authority answers {status.name.lower()}"
        raise IntegrityError(_THING, f"{cause}: {said}" if said else cause)
    return found


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _absent() -> UnavailableError:
    return UnavailableError(
        "rfc3161-client", "it is not installed", "pip install 'llmvault[time-stamps]'"
    )
