"""A time stamp authority that is asked by HTTP (RFC 3161 section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.keys.time_stamps import read_certificates, stamp_request, stamped_at

if TYPE_CHECKING:
    from llmvault.policy.ledger import TimeStamps

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpAuthority:
    """The authority of a policy; see :class:`llmvault.ledger.stamps.Authority`."""

    policy: TimeStamps

    @property
    def name(self) -> str:
        """Its address."""
        return self.policy.url

    def stamp(self, message: bytes) -> tuple[bytes, datetime]:
        """Ask for a stamp, and verify it."""
        request = stamp_request(message)
        response = self._post(request.data)
        trusted = read_certificates(self.policy.certificates)
        return response, stamped_at(response, message, trusted, request.nonce)

    def time_of(self, response: bytes, message: bytes) -> datetime:
        """Verify a stamp that was kept."""
        return stamped_at(response, message, read_certificates(self.policy.certificates))

    def _post(self, data: bytes) -> bytes:
        import httpx

        thing = f"time stamp authority {self.policy.url}"
        content = bytearray()
        try:
            with httpx.stream(
                "POST",
                self.policy.url,
                content=data,
                headers={"Content-Type": _QUERY, "Accept": _REPLY},
                timeout=self.policy.timeout.total_seconds(),
            ) as answer:
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > _LONGEST:
                        raise IntegrityError(thing, "its answer does not end")
        except httpx.HTTPError as error:
            cause = f"cannot be reached: {str(error) or type(error).__name__}"
            raise UnavailableError(thing, cause, "it is asked again next time") from error
        if answer.status_code != httpx.codes.OK:
            cause = f"answers with status {answer.status_code}"
            raise UnavailableError(thing, cause, "it is asked again next time")
        return bytes(content)
