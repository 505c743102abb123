"""Elasticsearch and OpenSearch as their documentation describes what llmvault asks of them.

Answers have the shapes of https://www.elastic.co/docs/api/doc/elasticsearch and
https://docs.opensearch.org/latest/api-reference/snapshots/. A snapshot is written to its
repository's directory in the layout of a real one, with JSON where Lucene's segments would be.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import http_server

Json = Any
Reply = tuple[int, Json]
USER, PASSWORD, API_KEY = "backup", "hunter2-search", "aWQ6aHVudGVyMg=="


@dataclass
class SearchServer:
    """One node with its indices.

    Attributes:
        path_repo: directories below which repositories may lie.
        fault: asked before each request by method and path; what it returns is answered.
        state: with which snapshots end.
    """

    kind: str
    path_repo: Path
    version: str = "8.15.0"
    cluster: str = "cluster-live-uuid"
    guarded: bool = False
    indices: dict[str, dict[str, Any]] = field(default_factory=dict)
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    fault: Callable[[str, str], Reply | None] = lambda method, path: None
    state: str = "SUCCESS"
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def add_index(self, name: str, mappings: dict[str, Any], shards: int = 1) -> None:
        """Make an index."""
        self.indices[name] = {
            "aliases": {},
            "mappings": mappings,
            "settings": {
                "index": {
                    "number_of_shards": str(shards),
                    "number_of_replicas": "1",
                    "uuid": f"uuid-{self.cluster}-{name}",
                    "creation_date": "1700000000000",
                    "provided_name": name,
                    "version": {"created": "8512000"},
                }
            },
            "docs": {},
        }

    def put(self, index: str, key: str, source: dict[str, Any]) -> None:
        """Write a document."""
        self.indices[index]["docs"][key] = source

    def answer(self, method: str, target: str, body: Json, authorization: str) -> Reply:
        """Answer one request."""
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.split("/") if part]
        self.asked.append(f"{method} {parts.path}")
        if told := self.fault(method, parts.path):
            return told
        if self.guarded and not self._may(authorization):
            return 401, _error("security_exception", "missing authentication credentials", 401)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if not path:
            return 200, self._root()
        if path[0] == "_snapshot":
            return self._snapshot(method, path[1:], body)
        if path[:2] == ["_cluster", "health"]:
            there = all(name in self.indices for name in path[2].split(","))
            return 200, {"status": "yellow" if there else "red", "timed_out": False}
        return self._index(method, path[0], path[1:], body, query)

    def _may(self, authorization: str) -> bool:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return authorization in (f"Basic {basic}", f"ApiKey {API_KEY}")

    def _root(self) -> Json:
        version: dict[str, Any] = {"number": self.version, "lucene_version": "9.11.1"}
        if self.kind == "opensearch":
            version["distribution"] = "opensearch"
        return {
            "name": "node-1",
            "cluster_name": "docker-cluster",
            "cluster_uuid": self.cluster,
            "version": version,
            "tagline": "You Know, for Search",
        }

    def _index(  # noqa: PLR0911  one per endpoint
        self, method: str, name: str, rest: list[str], body: Json, query: dict[str, str]
    ) -> Reply:
        if method == "GET" and not rest:
            found = {
                one: {key: value for key, value in index.items() if key != "docs"}
                for one, index in self.indices.items()
                if any(fnmatchcase(one, pattern) for pattern in name.split(","))
            }
            if not found and "*" not in name:
                return _no_index(name)
            return 200, found
        if name not in self.indices:
            return _no_index(name)
        if method == "DELETE":
            del self.indices[name]
            return 200, {"acknowledged": True}
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        docs = self.indices[name]["docs"]
        if rest == ["_count"]:
            return 200, {"count": len(docs), "_shards": shards}
        if rest == ["_refresh"]:
            return 200, {"_shards": shards}
        hits = self._search(name, docs, body)
        total = {"value": len(docs), "relation": "eq"}
        return 200, {"took": 1, "timed_out": False, "hits": {"total": total, "hits": hits}}

    def _search(self, name: str, docs: dict[str, Any], body: Json) -> list[dict[str, Any]]:
        if "query" not in body:
            assert body["sort"] == [{"_seq_no": "asc"}]
            keys = list(docs)[: body["size"]]
            return [
                {"_index": name, "_id": key, "_source": self._source(docs[key], body["_source"])}
                for key in keys
            ]
        script = body["query"]["script_score"]["script"]
        vector = script["params"].get("v") or script["params"]["query_value"]
        field_name = body["query"]["script_score"]["query"]["bool"]["filter"]["exists"]["field"]
        ranked = sorted(
            (math.dist(vector, doc[field_name]), key)
            for key, doc in docs.items()
            if field_name in doc
        )
        return [{"_index": name, "_id": key} for _, key in ranked[: body["size"]]]

    def _source(self, doc: dict[str, Any], wanted: object) -> dict[str, Any]:
        hides = self.kind == "elasticsearch" and self.version >= "9.2"
        if hides and wanted != {"exclude_vectors": False}:
            return {key: value for key, value in doc.items() if not isinstance(value, list)}
        if not hides and wanted is not True:
            raise AssertionError("[exclude_vectors] is not known to this version")
        return doc

    def _snapshot(  # noqa: PLR0911  one per endpoint
        self, method: str, path: list[str], body: Json
    ) -> Reply:
        name, rest = path[0], path[1:]
        if method == "PUT" and not rest:
            location = Path(body["settings"]["location"])
            if not location.is_relative_to(self.path_repo):
                reason = f"[{name}] location [{location}] doesn't match any of the locations "
                reason += "specified by path.repo"
                return 500, _error("repository_exception", reason, 500)
            self.repositories[name] = body
            return 200, {"acknowledged": True}
        if name not in self.repositories:
            return 404, _error("repository_missing_exception", f"[{name}] missing", 404)
        if rest == []:
            if method == "DELETE":
                del self.repositories[name]
                return 200, {"acknowledged": True}
            return 200, {name: self.repositories[name]}
        if rest == ["_verify"]:
            return 200, {"nodes": {"node-id": {"name": "node-1"}}}
        root = Path(self.repositories[name]["settings"]["location"])
        return self._in_repository(method, name, root, rest, body)

    def _in_repository(
        self, method: str, name: str, root: Path, rest: list[str], body: Json
    ) -> Reply:
        listing = read_listing(root)
        known = {one["name"]: one for one in listing["snapshots"]}
        if rest == ["_all"]:
            found = [self._stated(listing, one) for one in known.values()]
            return 200, {"snapshots": found, "total": len(found), "remaining": 0}
        if method == "PUT":
            self._take(root, listing, rest[0], body["indices"].split(","))
            return 200, {"accepted": True}
        if rest[0] not in known:
            reason = f"[{name}:{rest[0]}] is missing"
            return 404, _error("snapshot_missing_exception", reason, 404)
        if method == "DELETE":
            self._remove(root, listing, known[rest[0]])
            return 200, {"acknowledged": True}
        if rest[1:] == ["_restore"]:
            return self._restore(root, listing, known[rest[0]], body["indices"].split(","))
        return 200, {"snapshots": [self._stated(listing, known[rest[0]])]}

    def _stated(self, listing: Json, one: Json) -> dict[str, Any]:
        held = [
            name for name, index in listing["indices"].items() if one["uuid"] in index["snapshots"]
        ]
        done = self.state == "SUCCESS"
        failures = [] if done else [{"index": held[0], "reason": "IndexShardSnapshotFailed"}]
        return {
            "snapshot": one["name"],
            "uuid": one["uuid"],
            "version": self.version,
            "indices": held,
            "data_streams": [],
            "include_global_state": False,
            "state": self.state,
            "failures": failures,
            "shards": {
                "total": len(held),
                "failed": len(failures),
                "successful": len(held) - len(failures),
            },
        }

    def _take(self, root: Path, listing: Json, name: str, indices: list[str]) -> None:
        uuid = f"snap{len(listing['snapshots'])}-{name}"
        listing["snapshots"].append(
            {"name": name, "uuid": uuid, "state": 1, "version": self.version}
        )
        for one in indices:
            index = self.indices[one]
            entry = listing["indices"].setdefault(one, {"id": f"id-{one}", "snapshots": []})
            entry["snapshots"].append(uuid)
            for shard in range(int(index["settings"]["index"]["number_of_shards"])):
                place = root / "indices" / entry["id"] / str(shard)
                place.mkdir(parents=True, exist_ok=True)
                content = json.dumps(index) if shard == 0 else "{}"
                (place / f"snap-{uuid}.dat").write_text(content)
                (place / f"__{uuid}").write_bytes(content.encode() * 2)
        for file in (f"snap-{uuid}.dat", f"meta-{uuid}.dat"):
            (root / file).write_text(uuid)
        write_listing(root, listing, self.cluster)

    def _remove(self, root: Path, listing: Json, one: Json) -> None:
        listing["snapshots"].remove(one)
        for path in list(root.rglob(f"*{one['uuid']}*")):
            path.unlink()
        for name in list(listing["indices"]):
            listing["indices"][name]["snapshots"].remove(one["uuid"])
            if not listing["indices"][name]["snapshots"]:
                shutil.rmtree(root / "indices" / listing["indices"].pop(name)["id"])
        write_listing(root, listing, self.cluster)

    def _restore(self, root: Path, listing: Json, one: Json, indices: list[str]) -> Reply:
        for name in indices:
            if name in self.indices:
                reason = f"cannot restore index [{name}] because an open index with same name "
                reason += "already exists in the cluster"
                return 500, _error("snapshot_restore_exception", reason, 500)
        for name in indices:
            place = root / "indices" / listing["indices"][name]["id"] / "0"
            index = json.loads((place / f"snap-{one['uuid']}.dat").read_text())
            settings = index["settings"]["index"]
            settings |= {"uuid": f"uuid-{self.cluster}-{name}", "creation_date": "1800000000000"}
            self.indices[name] = index
        return 200, {"accepted": True}


def read_listing(root: Path) -> Json:
    """Return the newest list of a repository's snapshots; an empty one where there is none."""
    if not (root / "index.latest").is_file():
        return {"snapshots": [], "indices": {}}
    latest = int.from_bytes((root / "index.latest").read_bytes(), "big")
    return json.loads((root / f"index-{latest}").read_text())


def write_listing(root: Path, listing: Json, cluster: str) -> None:
    """Write a new list, and take the older ones away."""
    root.mkdir(parents=True, exist_ok=True)
    older = sorted(root.glob("index-*"))
    generation = max([int(path.name.removeprefix("index-")) for path in older], default=-1) + 1
    listing |= {"min_version": "7.12.0", "uuid": "repository-uuid", "cluster_id": cluster}
    (root / f"index-{generation}").write_text(json.dumps(listing))
    (root / "index.latest").write_bytes(generation.to_bytes(8, "big"))
    for path in older:
        path.unlink()


def _error(kind: str, reason: str, status: int) -> Json:
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def _no_index(name: str) -> Reply:
    return 404, _error("index_not_found_exception", f"no such index [{name}]", 404)


@contextmanager
def search_server(server: SearchServer) -> Iterator[SearchServer]:
    """Serve, and set the server's ``url``."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, told = server.answer(
                self.command,
                self.path,
                json.loads(raw) if raw else None,
                self.headers.get("Authorization") or "",
            )
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = reply

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Handler) as url:
        server.url = url
        yield server


VECTORS: dict[str, dict[str, Any]] = {
    "elasticsearch": {"type": "dense_vector", "dims": 4, "similarity": "l2_norm"},
    "opensearch": {
        "type": "knn_vector",
        "dimension": 4,
        "method": {"name": "hnsw", "space_type": "l2", "engine": "lucene"},
    },
}


def filled(server: SearchServer) -> SearchServer:
    """Write two indices: passages with vectors, notes without."""
    properties = {"text": {"type": "text"}, "vector": VECTORS[server.kind]}
    server.add_index("passages", {"properties": properties}, shards=2)
    for number in range(40):
        vector = [number / 7, float(number % 5), -1.5, 0.25]
        server.put("passages", f"p{number:02}", {"text": f"passage {number}", "vector": vector})
    server.add_index("notes", {"properties": {"text": {"type": "text"}}})
    server.put("notes", "only", {"text": "a note"})
    return server
