"""A running Qdrant server over its HTTP API (an ``Engine``).

As https://api.qdrant.tech documents it for versions 1.10 and newer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from llmvault.core.errors import (
    IntegrityError,
    RefusedError,
    UnavailableError,
    UnprovenError,
)
from llmvault.core.secrets import Secret
from llmvault.sources.interface import Point
from llmvault.sources.qdrant.words import (
    Settings,
    creation_body,
    own_id,
    point_as_json,
    point_from_json,
    settings_from_config,
)

if TYPE_CHECKING:
    import httpx

OLDEST = (1, 10)
MAJOR = 1
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 120.0
_SNAPSHOT_SECONDS = 3600.0
_CHUNK = 1 << 20
_IDS_A_DELETION = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that lies on a server.

    Attributes:
        sha256: as the server states it; empty where it states none.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of a collection beside its settings.

    Attributes:
        status: ``green``, ``yellow`` (optimizing), ``grey`` (waiting to optimize), ``red``.
        optimizer: what went wrong while optimizing; empty when nothing did.
    """

    status: str
    optimizer: str = ""


class QdrantServer:
    """One node of a running Qdrant."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client = client
        self.url = url

    def version(self) -> str:
        """Return the version that the server states.

        Raises:
            UnavailableError: when it is no Qdrant, or one whose API is not known.
        """
        stated = str(self._asked("GET", "/").get("version", ""))
        numbers = version_numbers(stated)
        if numbers is None:
            raise UnavailableError(
                self._thing(), "it does not answer as Qdrant does", "correct the url"
            )
        if numbers < OLDEST or numbers[0] > MAJOR:
            raise UnavailableError(
                self._thing(),
                f"its version {stated} is not known: 1.10 up to the last 1.x are",
                "update the server" if numbers < OLDEST else "update llmvault",
            )
        return stated

    def collections(self) -> Mapping[str, Settings]:
        """Return name -> settings of every collection."""
        return {name: self._settings(name) for name in self.names()}

    def names(self) -> tuple[str, ...]:
        """Return the names of all collections, sorted."""
        listed = self._result("GET", "/collections")["collections"]
        return tuple(sorted(str(one["name"]) for one in listed))

    def _settings(self, name: str) -> Settings:
        stated = self._result("GET", _collection(name))
        return settings_from_config(stated["config"], stated.get("payload_schema") or {})

    def health(self, name: str) -> Health:
        """Return what the server says of a collection's state."""
        stated = self._result("GET", _collection(name))
        optimizer = stated.get("optimizer_status", "ok")
        fault = optimizer.get("error", "") if isinstance(optimizer, Mapping) else ""
        return Health(str(stated.get("status", "")), str(fault))

    def aliases(self) -> Mapping[str, str]:
        """Return alias -> collection."""
        listed = self._result("GET", "/aliases")["aliases"]
        return {str(one["alias_name"]): str(one["collection_name"]) for one in listed}

    def peers(self) -> Mapping[str, str]:
        """Return peer id -> address of every node of the cluster; empty without a cluster."""
        stated = self._result("GET", "/cluster")
        if stated.get("status") != "enabled":
            return {}
        return {str(key): str(one.get("uri", "")) for key, one in stated["peers"].items()}

    def peer(self) -> str:
        """Return the id of this node; empty without a cluster."""
        stated = self._result("GET", "/cluster")
        return str(stated.get("peer_id", "")) if stated.get("status") == "enabled" else ""

    def shards(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of a collection's shards: on this node, and on others only."""
        stated = self._result("GET", f"{_collection(name)}/cluster")
        here = {int(one["shard_id"]) for one in stated.get("local_shards", ())}
        there = {int(one["shard_id"]) for one in stated.get("remote_shards", ())}
        return tuple(sorted(here)), tuple(sorted(there - here))

    def count(self, name: str) -> int:
        """Return how many points there are, counted exactly."""
        path = f"{_collection(name)}/points/count"
        return int(self._result("POST", path, {"exact": True})["count"])

    def page(self, name: str, start: str | None, limit: int) -> tuple[list[Point], str | None]:
        """Return points in the order of their ids, and where to go on."""
        body: dict[str, Any] = {"limit": limit, "with_payload": True, "with_vector": True}
        if start is not None:
            body["offset"] = own_id(start)
        answer = self._result("POST", f"{_collection(name)}/points/scroll", body)
        following = answer.get("next_page_offset")
        points = [point_from_json(one) for one in answer["points"]]
        return points, None if following is None else str(following)

    def some(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids."""
        body = {"ids": [own_id(one) for one in ids], "with_payload": True, "with_vector": True}
        return [
            point_from_json(one)
            for one in self._result("POST", f"{_collection(name)}/points", body)
        ]

    def nearest(self, name: str, using: str, vector: Sequence[float], k: int) -> list[str]:
        """Return the ids of the k nearest points, nearest first, compared one by one."""
        body: dict[str, Any] = {"query": list(vector), "limit": k, "params": {"exact": True}}
        if using:
            body["using"] = using
        answer = self._result("POST", f"{_collection(name)}/points/query", body)
        return [str(one["id"]) for one in answer["points"]]

    def create(self, name: str, settings: Settings, aliases: Sequence[str]) -> None:
        """Make a collection, its payload indexes and its aliases."""
        self._result("PUT", _collection(name), creation_body(settings))
        for field, schema in (settings.get("payload_schema") or {}).items():
            body = {"field_name": field, "field_schema": schema}
            self._result("PUT", f"{_collection(name)}/index?wait=true", body)
        self.name_collections({alias: name for alias in aliases})

    def name_collections(self, aliases: Mapping[str, str]) -> None:
        """Make aliases."""
        if not aliases:
            return
        actions = [
            {"create_alias": {"collection_name": name, "alias_name": alias}}
            for alias, name in sorted(aliases.items())
        ]
        self._result("POST", "/collections/aliases", {"actions": actions})

    def put(self, name: str, points: Sequence[Point]) -> None:
        """Write points, and wait until they are in the log."""
        body = {"points": [point_as_json(one) for one in points]}
        self._result("PUT", f"{_collection(name)}/points?wait=true", body)

    def forget(self, name: str, ids: Sequence[str]) -> None:
        """Delete points, and wait until that is done."""
        for start in range(0, len(ids), _IDS_A_DELETION):
            body = {"points": [own_id(one) for one in ids[start : start + _IDS_A_DELETION]]}
            self._result("POST", f"{_collection(name)}/points/delete?wait=true", body)

    def settle(self, name: str) -> None:
        """Do nothing: what was waited for can be read, and searched without an index."""

    def drop(self, name: str) -> None:
        """Remove a collection, and with it its aliases."""
        self._result("DELETE", _collection(name))

    def snapshots(self, name: str) -> tuple[str, ...]:
        """Return the names of a collection's snapshots that lie on this node."""
        listed = self._result("GET", f"{_collection(name)}/snapshots")
        return tuple(str(one["name"]) for one in listed)

    def take_snapshot(self, name: str) -> Snapshot:
        """Have a collection's snapshot made on this node."""
        path = f"{_collection(name)}/snapshots?wait=true"
        stated = self._result("POST", path, seconds=_SNAPSHOT_SECONDS)
        return Snapshot(
            str(stated["name"]), int(stated.get("size") or 0), str(stated.get("checksum") or "")
        )

    def remove_snapshot(self, name: str, snapshot: str) -> None:
        """Delete a snapshot from this node; one that is gone already is no fault."""
        path = f"{_collection(name)}/snapshots/{quote(snapshot, safe='')}"
        try:
            self._result("DELETE", f"{path}?wait=true")
        except _NotFoundError:
            return

    def download(self, name: str, snapshot: Snapshot, target: Path) -> str:
        """Write a snapshot to a new file; return its SHA-256.

        Raises:
            IntegrityError: when it is not as long, or not the bytes, that the server stated.
            OSError: when the disk is full.
        """
        path = f"{_collection(name)}/snapshots/{quote(snapshot.name, safe='')}"
        digest = hashlib.sha256()
        size = 0
        with self._errors(), target.open("xb") as file, self._client.stream("GET", path) as answer:
            self._refuse_bad(answer)
            for chunk in answer.iter_bytes(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        if snapshot.size and size != snapshot.size:
            cause = f"{size} bytes came, the server stated {snapshot.size}"
            raise IntegrityError(f"snapshot {snapshot.name}", cause, "take the backup again")
        if snapshot.sha256 and digest.hexdigest() != snapshot.sha256:
            cause = "its SHA-256 is not the one that the server stated"
            raise IntegrityError(f"snapshot {snapshot.name}", cause, "take the backup again")
        return digest.hexdigest()

    def upload(self, name: str, file: BinaryIO, sha256: str) -> None:
        """Make a collection of a snapshot, which is what counts: not what other nodes hold."""
        query = f"priority=snapshot&wait=true&checksum={sha256}"
        path = f"{_collection(name)}/snapshots/upload?{query}"
        parts = {"snapshot": ("collection.snapshot", file, "application/octet-stream")}
        with self._errors():
            answer = self._client.post(path, files=parts, timeout=_SNAPSHOT_SECONDS)
            self._refuse_bad(answer)

    def _result(
        self, method: str, path: str, body: object = None, *, seconds: float = _REQUEST_SECONDS
    ) -> Any:  # noqa: ANN401  as the question demands
        answer = self._asked(method, path, body, seconds=seconds)
        if "result" not in answer:
            raise UnavailableError(
                self._thing(), f"its answer to {method} {path} holds no result", "correct the url"
            )
        return answer["result"]

    def _asked(
        self, method: str, path: str, body: object = None, *, seconds: float = _REQUEST_SECONDS
    ) -> Mapping[str, Any]:
        with self._errors():
            answer = self._client.request(method, path, json=body, timeout=seconds)
            self._refuse_bad(answer)
            try:
                stated = answer.json()
            except ValueError as error:
                raise UnavailableError(
                    self._thing(), "it does not answer in JSON as Qdrant does", "correct the url"
                ) from error
        return stated if isinstance(stated, Mapping) else {}

    def _refuse_bad(self, answer: httpx.Response) -> None:
        """Raise what an HTTP status means."""
        if answer.is_success:
            return
        answer.read()
        said = _said(answer)
        what = f"{answer.request.method} {answer.request.url.path}"
        if answer.status_code in (401, 403):
            raise UnavailableError(
                self._thing(),
                f"it refuses access (HTTP {answer.status_code})",
                "correct the source's token: the API key, with the right to manage snapshots",
            )
        if answer.status_code == 404:
            raise _NotFoundError(self._thing(), f"{what}: {said}", "look at the collection's name")
        if answer.status_code == 409:
            raise RefusedError(self._thing(), f"{what}: {said}", "give a fresh store")
        if answer.status_code < 500:
            raise IntegrityError(self._thing(), f"{what}: {said}", "look at the server's log")
        raise UnavailableError(
            self._thing(),
            f"{what}: HTTP {answer.status_code}: {said}",
            "look at the server's log and disk space, then try again",
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.HTTPError as error:
            raise UnavailableError(
                self._thing(),
                f"it cannot be reached: {_plain(error)}",
                "start it, or correct the url",
            ) from error

    def _thing(self) -> str:
        return f"Qdrant server {self.url}"


class _NotFoundError(UnavailableError):
    """The server has no such collection or snapshot."""


@contextmanager
def open_server(url: str, token: Secret | None) -> Iterator[QdrantServer]:
    """Open a running server, and see that its version is known.

    Raises:
        UnavailableError: when it cannot be reached, does not accept the token, or is not known.
    """
    import httpx

    headers = {"api-key": token.reveal()} if token is not None else {}
    timeout = httpx.Timeout(_REQUEST_SECONDS, connect=_CONNECT_SECONDS)
    with httpx.Client(base_url=url, headers=headers, timeout=timeout) as client:
        server = QdrantServer(client, url)
        server.version()
        yield server


def version_numbers(stated: str) -> tuple[int, int] | None:
    """Return major and minor version; None when the text is no version."""
    parts = stated.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def refuse_other_version(captured: str, there: str) -> None:
    """Raise unless a snapshot can be restored: Qdrant demands the same minor version.

    Raises:
        RefusedError: when it cannot; nothing was written.
        UnprovenError: when it is not known what it was captured from.
    """
    taken, target = version_numbers(captured), version_numbers(there)
    if taken is None:
        raise UnprovenError("the snapshots", "it is not known which version made them")
    if taken != target:
        raise RefusedError(
            f"target of version {there}",
            f"the snapshots are of version {captured}; Qdrant restores the same minor version only",
            f"restore into a Qdrant {taken[0]}.{taken[1]}, then update it",
        )


def _collection(name: str) -> str:
    return f"/collections/{quote(name, safe='')}"


def _said(answer: httpx.Response) -> str:
    """Return what the server says went wrong, as one line."""
    try:
        status = answer.json()["status"]
        said = str(status["error"] if isinstance(status, Mapping) else status)
    except (ValueError, KeyError, TypeError):
        said = answer.text.strip() or answer.reason_phrase
    return said.splitlines()[0][:300] if said else f"HTTP {answer.status_code}"


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__
