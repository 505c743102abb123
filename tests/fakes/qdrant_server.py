"""A Qdrant cluster for tests: its storage engine behind answers as its HTTP API documents them.

https://api.qdrant.tech, and the layout of snapshots as Qdrant writes it. It is no Qdrant server:
what it cannot show is how a real one behaves under load or in trouble.
"""
# ruff: noqa: ANN401  bodies are JSON, and the engine's objects have no types

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import qdrant_edge as edge

from tests.servers import http_server

Answer = tuple[int, Any]
Hook = Callable[[str, str], Answer | None]


class NoSuchThingError(Exception):
    """Is answered with 404."""


@dataclass
class Collection:
    """A collection.

    Attributes:
        shards: shard id -> (node, shard).
    """

    config: dict[str, Any]
    schema: dict[str, Any] = field(default_factory=dict)
    shards: dict[int, tuple[int, Any]] = field(default_factory=dict)
    paths: dict[int, Path] = field(default_factory=dict)
    archives: dict[int, bytes] = field(default_factory=dict)


class FakeQdrant:
    """A cluster of nodes; of one node it is none.

    Attributes:
        api_key: demanded when not empty.
        hook: may answer a request (method, path with query) in place of the server.
        requests: every request that was made.
    """

    def __init__(self, root: Path, *, nodes: int = 1, version: str = "1.19.0") -> None:
        self.root = root
        self.nodes = nodes
        self.version = version
        self.api_key = ""
        self.hook: Hook | None = None
        self.requests: list[str] = []
        self.urls: list[str] = []
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.snapshots: dict[tuple[int, str, str], bytes] = {}
        self._numbers = 0
        self._lock = RLock()

    def create(self, name: str, body: dict[str, Any]) -> None:
        """Make a collection with one shard on each node."""
        params = {"shard_number": self.nodes, "replication_factor": 1, "on_disk_payload": True,
                  "sparse_vectors": None, **body}  # fmt: skip
        for key in ("hnsw_config", "optimizers_config", "wal_config", "quantization_config"):
            params.pop(key, None)
        config = {
            "params": params,
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000,
                            "max_indexing_threads": 0, "on_disk": False,
                            **(body.get("hnsw_config") or {})},
            "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000},
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            "quantization_config": None,
            "strict_mode_config": {"enabled": False},
        }  # fmt: skip
        made = Collection(config)
        for shard in range(self.nodes):
            path = self._new_path()
            path.mkdir(parents=True)
            opened = edge.EdgeShard.create(str(path), _edge_config(config))
            made.shards[shard], made.paths[shard] = (shard, opened), path
        self.collections[name] = made

    def _new_path(self) -> Path:
        self._numbers += 1
        return self.root / f"shard-{self._numbers}"

    def put(self, name: str, points: list[dict[str, Any]]) -> None:
        """Write points, by their ids over the shards."""
        collection = self.collections[name]
        collection.archives.clear()
        for shard, (_, opened) in collection.shards.items():
            mine = [one for one in points if _shard_of(one["id"], len(collection.shards)) == shard]
            if mine:
                opened.update(edge.UpdateOperation.upsert_points(list(map(_edge_point, mine))))

    def close(self) -> None:
        """Close every shard."""
        for name in list(self.collections):
            self.drop(name)

    def drop(self, name: str) -> None:
        """Remove a collection and its aliases."""
        collection = self.collections.pop(name)
        for shard, (_, opened) in collection.shards.items():
            opened.close()
            shutil.rmtree(collection.paths[shard])
        self.aliases = {key: one for key, one in self.aliases.items() if one != name}

    def answer(self, node: int, method: str, target: str, body: bytes) -> Answer:
        """Answer a request."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            if self.hook is not None and (special := self.hook(method, target)) is not None:
                return special
            parts = urlsplit(target)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
            try:
                return self._route(node, method, path, query, body)
            except NoSuchThingError as error:
                return 404, {"status": {"error": f"Not found: {error}"}, "time": 0.0}
            except Exception as error:  # noqa: BLE001  what the engine says
                return 400, {"status": {"error": str(error)}, "time": 0.0}

    def _route(  # noqa: C901, PLR0911  one line per route
        self, node: int, method: str, path: list[str], query: dict[str, str], body: bytes
    ) -> Answer:
        match method, path:
            case "GET", []:
                return 200, {"title": "qdrant - vector search engine", "version": self.version}
            case "GET", ["cluster"]:
                return _ok(self._cluster(node))
            case "GET", ["aliases"]:
                listed = [
                    {"alias_name": key, "collection_name": one} for key, one in self.aliases.items()
                ]
                return _ok({"aliases": listed})
            case "GET", ["collections"]:
                return _ok({"collections": [{"name": name} for name in self.collections]})
            case "POST", ["collections", "aliases"]:
                for one in json.loads(body)["actions"]:
                    made = one["create_alias"]
                    self.aliases[made["alias_name"]] = made["collection_name"]
                return _ok(True)
            case "PUT", ["collections", name]:
                if name in self.collections:
                    error = f"Wrong input: Collection `{name}` already exists!"
                    return 409, {"status": {"error": error}, "time": 0.0}
                self.create(name, json.loads(body))
                return _ok(True)
            case "POST", ["collections", name, "snapshots", "upload"]:
                return self._recover(node, name, query, _multipart(body))
            case _, ["collections", name, *rest]:
                if name not in self.collections:
                    raise NoSuchThingError(f"Collection `{name}` doesn't exist!")
                if rest[:1] == ["snapshots"]:
                    return self._snapshot(node, method, name, rest[1:])
                given = json.loads(body) if body else {}
                return self._collection(node, method, name, rest, given)
        raise NoSuchThingError("/".join(path))

    def _cluster(self, node: int) -> dict[str, Any]:
        if self.nodes == 1:
            return {"status": "disabled"}
        peers = {str(100 + place): {"uri": url} for place, url in enumerate(self.urls)}
        return {"status": "enabled", "peer_id": 100 + node, "peers": peers}

    def _collection(  # noqa: C901, PLR0911
        self, node: int, method: str, name: str, rest: list[str], given: dict[str, Any]
    ) -> Answer:
        collection = self.collections[name]
        match method, rest:
            case "GET", []:
                return _ok(self._info(collection))
            case "DELETE", []:
                self.drop(name)
                return _ok(True)
            case "GET", ["cluster"]:
                return _ok(_shards(collection, node))
            case "PUT", ["index"]:
                kind = given["field_schema"]
                word = kind if isinstance(kind, str) else kind["type"]
                collection.schema[given["field_name"]] = word
                operation = edge.UpdateOperation.create_field_index(
                    given["field_name"], getattr(edge.PayloadSchemaType, word.capitalize())
                )
                for _, shard in collection.shards.values():
                    shard.update(operation)
                return _ok({"operation_id": 1, "status": "completed"})
            case "PUT", ["points"]:
                self.put(name, given["points"])
                return _ok({"operation_id": 1, "status": "completed"})
            case "POST", ["points"]:
                wanted = [_edge_id(one) for one in given["ids"]]
                return _ok(
                    [_record(one) for one in _each(collection, "retrieve", wanted, True, True)]
                )
            case "POST", ["points", "delete"]:
                gone: list[Any] = [_edge_id(one) for one in given["points"]]
                for _, shard in collection.shards.values():
                    shard.update(edge.UpdateOperation.delete_points(gone))
                return _ok({"operation_id": 1, "status": "completed"})
            case "POST", ["points", "count"]:
                exactly = edge.CountRequest(exact=given["exact"])
                counts = [shard.count(exactly) for _, shard in collection.shards.values()]
                return _ok({"count": sum(counts)})
            case "POST", ["points", "scroll"]:
                return _ok(_scroll(collection, given))
            case "POST", ["points", "query"]:
                return _ok({"points": _query(collection, given)})
        raise NoSuchThingError("/".join(rest))

    def _info(self, collection: Collection) -> dict[str, Any]:
        schema = {
            key: {"data_type": word, "params": None, "points": 7}
            for key, word in collection.schema.items()
        }
        return {"status": "green", "optimizer_status": "ok", "segments_count": 1,
                "config": collection.config, "payload_schema": schema}  # fmt: skip

    def _snapshot(self, node: int, method: str, name: str, rest: list[str]) -> Answer:
        mine = {key[2]: one for key, one in self.snapshots.items() if key[:2] == (node, name)}
        match method, rest:
            case "GET", []:
                return _ok([_described(key, content) for key, content in mine.items()])
            case "POST", []:
                self._numbers += 1
                snapshot = f"{name}-{100 + node}-2026-11-25-{self._numbers:06}.snapshot"
                collection = self.collections[name]
                if node not in collection.archives:  # unchanged since the last one
                    collection.archives[node] = _archive(collection, node)
                content = collection.archives[node]
                self.snapshots[node, name, snapshot] = content
                return _ok(_described(snapshot, content))
            case "GET", [snapshot] if snapshot in mine:
                return 200, mine[snapshot]
            case "DELETE", [snapshot] if snapshot in mine:
                del self.snapshots[node, name, snapshot]
                return _ok(True)
        raise NoSuchThingError(f"Snapshot {rest}")

    def _recover(self, node: int, name: str, query: dict[str, str], content: bytes) -> Answer:
        if query.get("checksum") not in (None, hashlib.sha256(content).hexdigest()):
            return 400, {"status": {"error": "Wrong input: Snapshot checksum mismatch"}}
        place = self._new_path()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(place, filter="data")
        config = json.loads((place / "config.json").read_text())
        if name not in self.collections:
            self.collections[name] = Collection(config)
        collection = self.collections[name]
        collection.schema = json.loads((place / "payload_index.json").read_text())["schema"]
        for shard in sorted(path for path in place.iterdir() if path.name.isdigit()):
            collection.shards[int(shard.name)] = (node, self._recovered(collection, shard, query))
            collection.paths[int(shard.name)] = shard.with_suffix(".live")
        return _ok(True)

    def _recovered(self, collection: Collection, shard: Path, query: dict[str, str]) -> Any:
        live = shard.with_suffix(".live")
        if query.get("priority") != "snapshot":  # a fresh node takes what its empty peers have
            live.mkdir()
            return edge.EdgeShard.create(str(live), _edge_config(collection.config))
        with tarfile.open(shard.with_suffix(".tar"), "w") as tar:
            tar.add(shard, "")
        edge.EdgeShard.unpack_snapshot(str(shard.with_suffix(".tar")), str(live))
        return edge.EdgeShard.load(str(live))


@contextmanager
def fake_qdrant(root: Path, *, nodes: int = 1, version: str = "1.19.0") -> Iterator[FakeQdrant]:
    """Run a cluster until the context is left."""
    cluster = FakeQdrant(root, nodes=nodes, version=version)
    with ExitStack() as stack:
        stack.callback(cluster.close)
        for node in range(nodes):
            cluster.urls.append(stack.enter_context(http_server(_handler(cluster, node))))
        yield cluster


def _handler(cluster: FakeQdrant, node: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                body = b"".join(iter(self._chunk, b""))
            status: int
            content: Any
            if cluster.api_key and self.headers.get("api-key") != cluster.api_key:
                status, content = 403, "Invalid API key or JWT"
            else:
                status, content = cluster.answer(node, self.command, self.path, body)
            if status == 0:
                return  # hangs up
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().strip(), 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        do_GET = do_POST = do_PUT = do_DELETE = serve

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def _ok(result: object) -> Answer:
    return 200, {"result": result, "status": "ok", "time": 0.000123}


def _described(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "creation_time": "2026-11-25T21:00:00", "size": len(content),
            "checksum": hashlib.sha256(content).hexdigest()}  # fmt: skip


def _shards(collection: Collection, node: int) -> dict[str, Any]:
    local = [{"shard_id": key, "points_count": 1, "state": "Active"}
             for key, (place, _) in collection.shards.items() if place == node]  # fmt: skip
    remote = [{"shard_id": key, "peer_id": 100 + place, "state": "Active"}
              for key, (place, _) in collection.shards.items() if place != node]  # fmt: skip
    return {"peer_id": 100 + node, "shard_count": len(collection.shards),
            "local_shards": local, "remote_shards": remote, "shard_transfers": []}  # fmt: skip


def _archive(collection: Collection, node: int) -> bytes:
    """Return a snapshot: the collection's files, and each shard with a tar for every segment."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        for shard, (place, opened) in collection.shards.items():
            if place != node:
                continue
            opened.flush()
            root = collection.paths[shard]
            for segment in sorted((root / "segments").iterdir()):
                inner = io.BytesIO()
                with tarfile.open(fileobj=inner, mode="w") as segment_tar:
                    segment_tar.add(segment, "snapshot/files")
                add(f"{shard}/segments/{segment.name}.tar", inner.getvalue())
            add(f"{shard}/shard_config.json", b'{"type":"ReplicaSet"}')
        add("version.info", b"1.19.0")
        add("config.json", json.dumps(collection.config).encode())
        add("payload_index.json", json.dumps({"schema": collection.schema}).encode())
    return made.getvalue()


def _multipart(body: bytes) -> bytes:
    boundary = body[: body.index(b"\r\n")]
    start = body.index(b"\r\n\r\n") + 4
    return body[start : body.rindex(b"\r\n" + boundary)]


def _edge_config(config: dict[str, Any]) -> Any:
    vectors = config["params"].get("vectors") or {}
    named = {"": vectors} if "size" in vectors else vectors
    sparse = config["params"].get("sparse_vectors") or {}
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(
                one["size"],
                getattr(edge.Distance, one["distance"]),
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
                if one.get("multivector_config")
                else None,
            )
            for name, one in named.items()
        },
        sparse_vectors={name: edge.EdgeSparseVectorParams() for name in sparse},
    )


def _edge_id(given: int | str) -> int | uuid.UUID:
    return given if isinstance(given, int) else uuid.UUID(given)


def _shard_of(given: int | str, shards: int) -> int:
    return int(re.sub(r"\D", "", str(given)) or 0) % shards


def _edge_point(one: dict[str, Any]) -> Any:
    def made(vector: Any) -> Any:
        if isinstance(vector, dict) and "indices" in vector:
            return edge.SparseVector(vector["indices"], vector["values"])
        if isinstance(vector, dict):
            return {name: made(each) for name, each in vector.items()}
        return vector

    return edge.Point(_edge_id(one["id"]), made(one["vector"]), one.get("payload"))


def _record(record: Any) -> dict[str, Any]:
    def stated(vector: Any) -> Any:
        if isinstance(vector, dict):
            return {name: stated(each) for name, each in vector.items()}
        if isinstance(vector, edge.SparseVector):
            return {"indices": vector.indices, "values": vector.values}
        return vector

    own = record.id if isinstance(record.id, int) else str(record.id)
    return {"id": own, "payload": record.payload, "vector": stated(record.vector)}


def _each(collection: Collection, what: str, *given: Any) -> list[Any]:
    return [one for _, shard in collection.shards.values() for one in getattr(shard, what)(*given)]


def _scroll(collection: Collection, given: dict[str, Any]) -> dict[str, Any]:
    limit = given["limit"]
    request = edge.ScrollRequest(
        offset=_edge_id(given["offset"]) if "offset" in given else None,
        limit=limit + 1,
        with_payload=True,
        with_vector=True,
    )
    found = [one for _, shard in collection.shards.values() for one in shard.scroll(request)[0]]
    found.sort(key=lambda one: (0, one.id) if isinstance(one.id, int) else (1, one.id.int))
    following = _record(found[limit])["id"] if len(found) > limit else None
    return {"points": [_record(one) for one in found[:limit]], "next_page_offset": following}


def _query(collection: Collection, given: dict[str, Any]) -> list[dict[str, Any]]:
    request = edge.QueryRequest(
        limit=given["limit"],
        query=edge.Query.Nearest(given["query"], given.get("using")),
        params=edge.SearchParams(exact=given["params"]["exact"]),
    )
    found = _each(collection, "query", request)
    vectors = collection.config["params"]["vectors"]
    distance = (vectors if "size" in vectors else vectors[given.get("using", "")])["distance"]
    found.sort(key=lambda one: one.score if distance == "Euclid" else -one.score)
    return [
        {"id": one.id if isinstance(one.id, int) else str(one.id), "score": one.score, "version": 0}
        for one in found[: given["limit"]]
    ]
