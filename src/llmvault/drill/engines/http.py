"""Asking a server on this machine over HTTP, in JSON.

Proxies of the environment are ignored: the server is always on 127.0.0.1, and a proxy could answer
in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.drill.engines.server import Child

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Answer = dict[str, Any]

_PROBE_SECONDS = 2.0
_ANSWER_BYTES = 64 << 20
_QUOTED = 300


class RejectedError(UnavailableError):
    """The server answered with an HTTP status that is not 200.

    Attributes:
        status: that HTTP status.
    """

    def __init__(self, status: int, error: UnavailableError) -> None:
        super().__init__(error.thing, error.cause, error.next_step)
        self.status = status


class Api:
    """The HTTP interface of an engine's process."""

    def __init__(self, child: Child, client: httpx.Client, *, limit: float, clock: Clock) -> None:
        self.child = child
        self._client = client
        self._limit = limit
        self._clock = clock

    def answers(self, path: str) -> bool:
        """Whether a GET is answered with 200; errors of the connection count as no."""
        import httpx

        try:
            with self._client.stream("GET", path, timeout=_PROBE_SECONDS) as response:
                return response.status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def get(self, path: str, read: Callable[[Answer], T]) -> T:
        """Return what `read` makes of the answer to a GET; errors as for :meth:`post`."""
        return self._ask("GET", path, None, read)

    def post(self, path: str, body: Mapping[str, object], read: Callable[[Answer], T]) -> T:
        """Return what `read` makes of the answer to a POST.

        Raises:
            RejectedError: when the status is not 200.
            UnavailableError: when the server crashed, hung beyond the request time-out, or answered
                something that is no JSON object or that `read` does not understand.
        """
        return self._ask("POST", path, body, read)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        read: Callable[[Answer], T],
    ) -> T:
        doing = f"answering {path}"
        status, content = self._exchange(method, path, body, doing)
        if status != 200:
            refusal = f"answered {path} with HTTP {status}: {_reason(content)}"
            raise RejectedError(status, self.child.failure(refusal))
        try:
            answer = dict(json.loads(content))
        except (ValueError, TypeError) as error:
            raise self.child.failure(
                f"answered {path} with no JSON object: {_reason(content)}"
            ) from error
        try:
            return read(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self.child.failure(f"answered {path} with garbage: {error!r}") from error

    def _exchange(
        self, method: str, path: str, body: Mapping[str, object] | None, doing: str
    ) -> tuple[int, bytes]:
        import httpx

        if self._client.is_closed:
            raise self.child.failure("was stopped")
        deadline = self._clock.monotonic() + self._limit
        content = bytearray()
        try:
            with self._client.stream(method, path, json=body) as response:
                for piece in response.iter_bytes():
                    content += piece
                    if self._clock.monotonic() > deadline:
                        raise self.child.late(doing, self._limit)
                    if len(content) > _ANSWER_BYTES:
                        raise self.child.failure(f"never came to an end while {doing}")
        except httpx.TimeoutException:
            raise self.child.late(doing, self._limit) from None
        except httpx.HTTPError as error:
            raise self.child.broken(doing, f"broke the connection ({error})") from error
        return response.status_code, bytes(content)


@contextmanager
def connect(
    child: Child, address: str, *, limit: float, clock: Clock, token: str = ""
) -> Iterator[Api]:
    """Open the HTTP interface at an address such as ``http://127.0.0.1:8000``.

    Args:
        limit: seconds for one request.
        token: sent as bearer token; none if empty.
    """
    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=address, headers=headers, timeout=limit, trust_env=False) as client:
        yield Api(child, client, limit=limit, clock=clock)


def _reason(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = text
    return str(message)[:_QUOTED] or "an empty answer"
