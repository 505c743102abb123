"""Stores behind an HTTP interface that speaks JSON; proxies of the environment are ignored."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from llmvault.core.errors import RefusedError, UnavailableError, VaultError
from llmvault.core.secrets import Secret
from llmvault.sources.stores.address import plain_url

if TYPE_CHECKING:
    import httpx

_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 120.0
_SAID = 300


class AbsentError(UnavailableError):
    """The server does not have what was asked for (HTTP 404)."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is reached.

    Attributes:
        headers: sent with each request; may hold secrets.
        login: user and password (HTTP Basic), if any.
        authority: file with the certificates that sign the server's; the system's when None.
    """

    url: str
    headers: Mapping[str, Secret]
    login: tuple[str, Secret] | None = None
    authority: Path | None = None


class StoreApi:
    """The HTTP interface of one server."""

    def __init__(self, client: httpx.Client, thing: str) -> None:
        self._client = client
        self.thing = thing

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        seconds: float = _REQUEST_SECONDS,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:  # noqa: ANN401  as the question demands
        """Return the JSON of an answer.

        Raises:
            AbsentError: for HTTP 404.
            RefusedError: when the server finds the request wrong (other 4xx).
            UnavailableError: when it cannot be reached, refuses access, fails, or does not answer
                in JSON.
        """
        import httpx

        try:
            answer = self._client.request(method, path, json=body, params=query, timeout=seconds)
        except httpx.HTTPError as error:
            raise UnavailableError(
                self.thing,
                f"it cannot be reached: {str(error) or type(error).__name__}",
                "start it, or correct the url",
            ) from error
        if not answer.is_success:
            raise self._refusal(method, answer)
        try:
            return answer.json() if answer.content else {}
        except ValueError as error:
            raise UnavailableError(
                self.thing, f"it does not answer {path} in JSON", "correct the url"
            ) from error

    def _refusal(self, method: str, answer: httpx.Response) -> VaultError:
        status = answer.status_code
        cause = f"{method} {answer.request.url.path}: HTTP {status}: {_said(answer)}"
        if status in (401, 403):
            return UnavailableError(
                self.thing,
                f"it refuses access (HTTP {status})",
                "correct the source's credentials, and give them the rights that backups need",
            )
        if status == 404:
            return AbsentError(self.thing, cause, "look at the names in the policy")
        if status < 500:
            return RefusedError(self.thing, cause, "look at the server's log")
        step = "look at the server's log and disk space, then try again"
        return UnavailableError(self.thing, cause, step)


@contextmanager
def store_api(access: Access, thing: str) -> Iterator[StoreApi]:
    """Open the interface of a server; nothing is asked yet."""
    import httpx

    headers = {name: secret.reveal() for name, secret in access.headers.items()}
    login = (access.login[0], access.login[1].reveal()) if access.login else None
    with httpx.Client(
        base_url=access.url,
        headers=headers,
        auth=login,
        verify=_trusted(access),
        trust_env=False,
        timeout=httpx.Timeout(_REQUEST_SECONDS, connect=_CONNECT_SECONDS),
    ) as client:
        yield StoreApi(client, thing)


def _trusted(access: Access) -> ssl.SSLContext | bool:
    if not access.url.startswith("https:"):
        return False  # there is nothing to verify, and reading the system's certificates is slow
    authority = access.authority
    try:
        return True if authority is None else ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise UnavailableError(
            f"certificates {authority}", f"they cannot be read: {error}", "correct the policy"
        ) from error


def target_with_location(address: str) -> tuple[str, dict[str, str]]:
    """Return URL and query of a server that restores what lies in a directory that it sees.

    Raises:
        RefusedError: when the query names no ``location``.
        PolicyError: when the address is no plain URL.
    """
    parts = urlsplit(address)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if "location" not in query:
        raise RefusedError(
            f"target {parts.hostname}", "it names no directory", "add ?location=DIRECTORY"
        )
    return plain_url(urlunsplit(parts._replace(query="")), "target"), query


def numbers_of(version: str) -> tuple[int, int]:
    """Return major and minor version; (0, 0) when the text is no version."""
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return 0, 0
    return int(parts[0]), int(parts[1])


def _said(answer: httpx.Response) -> str:
    """Return what the server says went wrong, as one line."""
    try:
        stated: Any = answer.json()
    except ValueError:
        stated = answer.text
    for key in ("error", "reason", "message"):
        if isinstance(stated, list) and stated:
            stated = stated[0]
        if isinstance(stated, Mapping):
            stated = stated.get(key, stated)
    text = str(stated).strip() or answer.reason_phrase
    return text.splitlines()[0][:_SAID] if text else "no reason"
