"""Weaviate as its documentation describes what llmvault asks of it.

Answers have the shapes of https://docs.weaviate.io/weaviate/api/rest and of its GraphQL interface;
a backup is written in the layout of the module backup-filesystem, with JSON in place of chunks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import http_server

Json = Any
Reply = tuple[int, Json]
TOKEN = "hunter2-weaviate"


@dataclass
class WeaviateServer:
    """One node.

    Attributes:
        directory: ``BACKUP_FILESYSTEM_PATH``.
        fault: asked before each request by method and path; what it returns is answered.
        ends: status with which backups and restores end.
    """

    directory: Path
    node: str = "node1"
    version: str = "1.30.0"
    guarded: bool = False
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    fault: Callable[[str, str], Reply | None] = lambda method, path: None
    ends: str = "SUCCESS"
    url: str = ""

    def define(self, name: str, **more: Json) -> None:
        """Make a collection."""
        index = {"distance": "cosine", "efConstruction": 128, "maxConnections": 32}
        self.classes[name] = {
            "class": name,
            "properties": [{"name": "text", "dataType": ["text"]}],
            "vectorizer": "none",
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": index,
            "multiTenancyConfig": {"enabled": False},
            **more,
        }
        self.objects[name] = {}

    def put(self, name: str, key: str, text: str, vector: list[float]) -> None:
        """Write an object."""
        stored = {"class": name, "id": key, "properties": {"text": text}, "vector": vector}
        self.objects[name][key] = stored

    def answer(  # noqa: PLR0911  one per endpoint
        self, method: str, target: str, body: Json, authorization: str
    ) -> Reply:
        """Answer one request."""
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.split("/") if part][1:]
        if told := self.fault(method, parts.path):
            return told
        if self.guarded and authorization != f"Bearer {TOKEN}":
            return 401, {"code": 401, "message": "anonymous access not enabled"}
        match path:
            case ["meta"]:
                return 200, {"hostname": "http://[::]:8080", "version": self.version, "modules": {}}
            case ["nodes"]:
                return 200, {"nodes": [{"name": self.node, "status": "HEALTHY"}]}
            case ["schema"]:
                return 200, {"classes": list(self.classes.values())}
            case ["schema", name]:
                return self._drop(name)
            case ["objects"]:
                query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
                return self._list(query)
            case ["graphql"]:
                return self._graphql(body["query"])
            case ["backups", "filesystem", *rest]:
                return self._backups(method, rest, body)
        return 404, {"code": 404, "message": f"path {parts.path} was not found"}

    def _drop(self, name: str) -> Reply:
        self.classes.pop(name, None)
        self.objects.pop(name, None)
        return 200, {}

    def _list(self, query: dict[str, str]) -> Reply:
        held = self.objects[query["class"]]
        found = [held[key] for key in sorted(held)][: int(query["limit"])]
        return 200, {"objects": found, "deprecations": None}

    def _graphql(self, query: str) -> Reply:
        if counted := re.search(r"Aggregate \{ (\w+) ", query):
            name = counted[1]
            answer = {"Aggregate": {name: [{"meta": {"count": len(self.objects[name])}}]}}
            return 200, {"data": answer}
        asked = re.search(r"Get \{ (\w+)\(nearVector: \{vector: (\[.*?\])\}, limit: (\d+)\)", query)
        if asked is None:
            return 200, {"errors": [{"message": "Syntax Error GraphQL"}], "data": None}
        name, vector, limit = asked[1], json.loads(asked[2]), int(asked[3])
        ranked = sorted(
            (math.dist(vector, one["vector"]), key) for key, one in self.objects[name].items()
        )
        found = [{"_additional": {"id": key}} for _, key in ranked[:limit]]
        return 200, {"data": {"Get": {name: found}}}

    def _backups(self, method: str, rest: list[str], body: Json) -> Reply:
        if rest == []:
            return self._back_up(body["id"], body["include"])
        place, is_restore = self.directory / rest[0], rest[1:] == ["restore"]
        key = "/".join(rest)
        if method == "POST" and is_restore:
            return self._restore(place, key, body)
        if key not in self.done:
            return 404, {"error": [{"message": f"backup {rest[0]} not found"}]}
        return 200, self.done[key]

    def _back_up(self, name: str, classes: list[str]) -> Reply:
        place = self.directory / name
        if not re.fullmatch("[a-z0-9_-]+", name) or place.exists():
            return 422, {"error": [{"message": f"backup {name} is no good name, or exists"}]}
        if missing := [one for one in classes if one not in self.classes]:
            return 422, {"error": [{"message": f"class {missing[0]} doesn't exist"}]}
        described = []
        for one in classes:
            (place / self.node / one).mkdir(parents=True)
            content = {"class": self.classes[one], "objects": self.objects[one]}
            (place / self.node / one / "chunk-1").write_text(json.dumps(content))
            described.append({"name": one, "chunks": {"1": ["shard"]}})
        times = {"startedAt": "2026-01-02T03:04:05Z", "completedAt": "2026-01-02T03:04:06Z"}
        common = {**times, "id": name, "status": self.ends, "version": "2.1", "error": ""}
        common["serverVersion"] = self.version
        node = {self.node: {"classes": classes, "status": self.ends, "error": ""}}
        (place / self.node / "backup.json").write_text(json.dumps({**common, "classes": described}))
        (place / "backup_config.json").write_text(json.dumps({**common, "nodes": node}))
        started = {"backend": "filesystem", "id": name, "path": str(place), "classes": classes}
        self.done[name] = {**started, "status": self.ends, "error": self._error()}
        return 200, {**started, "status": "STARTED"}

    def _error(self) -> str:
        return "" if self.ends == "SUCCESS" else "node1: no space left on device"

    def _restore(self, place: Path, key: str, body: Json) -> Reply:
        taken = json.loads((place / "backup_config.json").read_text())
        mapping = body.get("node_mapping", {})
        if there := [one for one in body["include"] if one in self.classes]:
            return 422, {"error": [{"message": f"could not restore class {there[0]}: exists"}]}
        if any(mapping.get(node, node) != self.node for node in taken["nodes"]):
            return 422, {"error": [{"message": "cannot resolve hostname of node"}]}
        for node, held in taken["nodes"].items():
            for name in held["classes"]:
                content = json.loads((place / node / name / "chunk-1").read_text())
                self.classes[name], self.objects[name] = content["class"], content["objects"]
        answer = {"backend": "filesystem", "id": place.name, "classes": body["include"]}
        self.done[key] = {**answer, "status": self.ends, "error": self._error()}
        return 200, {**answer, "status": "STARTED"}


@contextmanager
def weaviate_server(server: WeaviateServer) -> Iterator[WeaviateServer]:
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

        do_GET = do_POST = do_DELETE = reply

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Handler) as url:
        server.url = url
        yield server


def filled(server: WeaviateServer) -> WeaviateServer:
    """Write two collections."""
    server.define("Passage")
    for number in range(40):
        key = f"00000000-0000-4000-8000-{number:012}"
        server.put("Passage", key, f"passage {number}", [number / 7, float(number % 5), -1.5])
    server.define("Note")
    server.put("Note", "11111111-0000-4000-8000-000000000000", "a note", [0.5, 0.25, 1.0])
    return server
