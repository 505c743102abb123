"""Opening Chroma stores: directories in this process, servers over HTTP.

Telemetry is off and no ``.env`` file is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from llmvault.core.errors import UnavailableError
from llmvault.core.secrets import Secret
from llmvault.sources.chroma.opened import OpenChroma, engine_errors
from llmvault.sources.chroma.records import Database

if TYPE_CHECKING:
    import httpx
    from chromadb.api.client import Client
    from chromadb.config import Settings

_PROBE_SECONDS = 10.0
_REQUEST_SECONDS = 120.0


@contextmanager
def open_directory(
    path: Path, databases: Iterable[Database], *, sample: int
) -> Iterator[OpenChroma]:
    """Open (or create) a persist directory with its databases; it is written to by opening it."""
    _require_chromadb()
    with ExitStack() as stack:
        clients: dict[Database, Client] = {}
        with engine_errors(f"Chroma store {path}"):
            root = stack.enter_context(_directory_client(path, Database()))
            for database in databases:
                _ensure(root, database)
                clients[database] = stack.enter_context(_directory_client(path, database))

        def add(database: Database) -> Client:
            _ensure(root, database)
            return stack.enter_context(_directory_client(path, database))

        yield OpenChroma(clients, sample, add)


def _require_chromadb() -> None:
    try:
        import chromadb  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            "chromadb", f"it cannot be imported: {error}", "pip install 'llmvault[chroma]'"
        ) from error


def _directory_client(path: Path, database: Database) -> Client:
    import chromadb

    client = chromadb.PersistentClient(
        str(path), settings=_settings(), tenant=database.tenant, database=database.name
    )
    return cast("Client", client)


@contextmanager
def open_server(
    url: str, token: Secret | None, *, sample: int, databases: Iterable[Database] = ()
) -> Iterator[OpenChroma]:
    """Open a running server: every database of the default tenant, and `databases`, created.

    Raises:
        UnavailableError: when it cannot be reached or does not accept the token.
    """
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    _require_chromadb()
    existing = _probe(url, headers)
    with ExitStack() as stack:
        clients: dict[Database, Client] = {}
        with engine_errors(f"Chroma server {url}"):
            root = stack.enter_context(_http_client(url, headers, Database()))
            for database in databases:
                _ensure(root, database)
            for database in sorted({*existing, *databases}):
                clients[database] = stack.enter_context(_http_client(url, headers, database))

        def add(database: Database) -> Client:
            _ensure(root, database)
            return stack.enter_context(_http_client(url, headers, database))

        yield OpenChroma(clients, sample, add)


@contextmanager
def _http_client(url: str, headers: Mapping[str, str], database: Database) -> Iterator[Client]:
    import chromadb
    import httpx

    parts = urlsplit(url)
    client = chromadb.HttpClient(
        host=url,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        ssl=parts.scheme == "https",
        headers=dict(headers),
        settings=_settings(),
        tenant=database.tenant,
        database=database.name,
    )
    with cast("Client", client) as opened, ExitStack() as stack:
        for session in _sessions(opened):
            session.timeout = httpx.Timeout(_REQUEST_SECONDS)
            stack.callback(session.close)
        yield opened


def _sessions(client: Client) -> tuple[httpx.Client, ...]:
    """Return a client's HTTP sessions, its own and that of the admin client inside it.

    There is no public way to them; left alone they wait for ever and are never closed.
    """
    owners = (client, client._admin_client)
    return tuple(cast("Any", owner)._server._session for owner in owners)


def _settings() -> Settings:
    from chromadb.config import Settings

    return Settings(_env_file=None, anonymized_telemetry=False)


def _ensure(client: Client, database: Database) -> None:
    """Create a database that is not there yet."""
    from chromadb.errors import NotFoundError

    admin = client._admin_client  # shares the client's connection and its life; a new one leaks
    try:
        admin.get_tenant(database.tenant)
    except NotFoundError:
        admin.create_tenant(database.tenant)
    try:
        admin.get_database(database.name, tenant=database.tenant)
    except NotFoundError:
        admin.create_database(database.name, tenant=database.tenant)


def _probe(url: str, headers: Mapping[str, str]) -> tuple[Database, ...]:
    """Return the databases of the default tenant: the first request, with a short timeout."""
    import httpx

    tenant = Database().tenant
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/v2/tenants/{tenant}/databases",
            headers=dict(headers),
            timeout=_PROBE_SECONDS,
        )
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"Chroma server {url}", f"it cannot be reached: {error}", "start it, or correct the url"
        ) from error
    if answer.status_code in (401, 403):
        raise UnavailableError(
            f"Chroma server {url}",
            f"it refuses access (HTTP {answer.status_code})",
            "correct the source's token",
        )
    try:
        listed = answer.raise_for_status().json()
        return tuple(Database(tenant, str(each["name"])) for each in listed)
    except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"Chroma server {url}",
            f"it does not answer as Chroma's v2 API does (HTTP {answer.status_code})",
            "correct the url; Chroma 1.0 or newer is needed",
        ) from error


def server_version(url: str, token: Secret | None) -> str:
    """Return the version a server states; empty when it states none."""
    import httpx

    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/v2/version", headers=headers, timeout=_PROBE_SECONDS
        )
        return str(json.loads(answer.text)) if answer.is_success else ""
    except (httpx.HTTPError, ValueError):
        return ""
