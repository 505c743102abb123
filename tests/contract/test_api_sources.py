"""Stores whose own servers make the copies: the suite of sources against documented answers.

Not yet run against live servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.secrets import parse_secret_ref
from llmvault.core.verdict import Verdict
from llmvault.policy.sources import ElasticsearchSource, OpenSearchSource, WeaviateSource
from llmvault.sources.elasticsearch import ElasticsearchIndexes, OpenSearchIndexes
from llmvault.sources.interface import Source
from llmvault.sources.weaviate import WeaviateCollections
from tests.contract.source import (
    OpensContract,
    SourceContract,
    SourceExample,
    capture_into,
    local_ports,
    through_json,
)
from tests.fakes import search_server, weaviate_server
from tests.fakes.search_server import SearchServer
from tests.fakes.weaviate_server import WeaviateServer
from tests.servers import free_port

ENVIRONMENT = {
    "SEARCH_PASSWORD": search_server.PASSWORD,
    "SEARCH_KEY": search_server.API_KEY,
    "WEAVIATE_KEY": weaviate_server.TOKEN,
}
Json = Any
DRIVERS: dict[str, Any] = {
    "elasticsearch": (ElasticsearchSource, ElasticsearchIndexes),
    "opensearch": (OpenSearchSource, OpenSearchIndexes),
}


def search_source(live: SearchServer, scratch: SearchServer | None = None, **more: Json) -> Json:
    """Return the driver of a fake server; its repository is ``live`` below its path.repo."""
    model, driver = DRIVERS[live.kind]
    repository = live.path_repo / "live"
    repository.mkdir(exist_ok=True)
    declared: dict[str, Any] = {"kind": live.kind, "url": live.url, "path": repository, **more}
    if live.guarded:
        declared |= {"username": search_server.USER, "password": "env:SEARCH_PASSWORD"}
    if scratch is not None:
        key = {"api_key": "env:SEARCH_KEY"} if scratch.guarded else {}
        declared["scratch"] = {"url": scratch.url, "path": scratch.path_repo, **key}
    return driver("documents", model.model_validate(declared), local_ports(ENVIRONMENT))


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    place = tmp_path / "repositories"
    place.mkdir()
    return place


def served(kind: str, place: Path, **more: Json) -> Json:
    return search_server.search_server(SearchServer(kind, place, **more))


class TestElasticsearch(SourceContract, OpensContract):
    """Elasticsearch 8 with a password, brought up in another by API key."""

    KIND: ClassVar[str] = "elasticsearch"
    VERSION: ClassVar[str] = "8.15.0"

    @pytest.fixture
    def live(self, repositories: Path) -> Iterator[SearchServer]:
        with served(self.KIND, repositories, version=self.VERSION, guarded=True) as server:
            yield search_server.filled(server)

    @pytest.fixture
    def scratch(self, repositories: Path) -> Iterator[SearchServer]:
        place = repositories / "scratch"
        place.mkdir()
        more = {"version": self.VERSION, "cluster": "cluster-scratch", "guarded": True}
        with served(self.KIND, place, **more) as server:
            yield server

    @pytest.fixture
    def example(self, live: SearchServer, scratch: SearchServer) -> SourceExample:
        return SourceExample(
            search_source(live, scratch),
            files=frozenset({"index.latest", "index-0"}),
            collections=frozenset({"passages", "notes"}),
            secrets=(search_server.PASSWORD, search_server.API_KEY),
        )

    @pytest.fixture
    def missing(self, repositories: Path) -> Source:
        nobody = SearchServer(self.KIND, repositories, url=f"http://127.0.0.1:{free_port()}")
        driver: Source = search_source(nobody)
        return driver

    def damage(self, restored: Path) -> None:
        next(restored.glob("indices/*/1/snap-*.dat")).unlink()

    @pytest.fixture(autouse=True)
    def nothing_stays(self, live: SearchServer, scratch: SearchServer) -> Iterator[None]:
        """No snapshot on the live server, no index, repository or file on the other."""
        yield
        root = live.path_repo / "live"
        assert search_server.read_listing(root)["snapshots"] == []
        assert not scratch.indices
        assert not scratch.repositories
        assert not list(scratch.path_repo.iterdir())


class TestElasticsearchThatHidesVectors(TestElasticsearch):
    VERSION = "9.2.0"


class TestOpenSearch(TestElasticsearch):
    KIND = "opensearch"
    VERSION = "2.19.0"


@pytest.fixture
def live(repositories: Path) -> Iterator[SearchServer]:
    with served("elasticsearch", repositories) as server:
        yield search_server.filled(server)


def taken(source: Json, tmp_path: Path) -> tuple[Any, Path]:
    """Back up; return what was recorded and the restored files."""
    recorded, _ = capture_into(source, tmp_path / "restored", tmp_path)
    return through_json(recorded), tmp_path / "restored"


def snapshots_in(live: SearchServer) -> Json:
    return search_server.read_listing(live.path_repo / "live")["snapshots"]


def test_indices_are_loaded_into_a_fresh_cluster(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    recorded, restored = taken(source, tmp_path)
    with served("elasticsearch", tmp_path, cluster="other", version="9.1.0") as target:
        place = tmp_path / "target"
        found = source.load(restored, f"{target.url}?location={place}")
        assert found == recorded.collections
        assert target.indices.keys() == {"passages", "notes"}
        assert not target.repositories
        assert not place.exists()
        with pytest.raises(RefusedError, match="has an index notes already"):
            source.load(restored, f"{target.url}?location={place}")


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ({"version": "8.14.0"}, "older than that of the snapshot"),
        ({"version": "10.0.0"}, "more than one major above"),
        ({"kind": "opensearch"}, "the target is opensearch"),
        ({"cluster": "cluster-live-uuid"}, "the live cluster"),
    ],
)
def test_a_target_of_no_use_is_refused_untouched(
    live: SearchServer, tmp_path: Path, target: dict[str, str], cause: str
) -> None:
    source = search_source(live)
    _, restored = taken(source, tmp_path)
    declared = {"kind": "elasticsearch", "cluster": "other", **target}
    with served(declared.pop("kind"), tmp_path, **declared) as server:
        with pytest.raises(RefusedError, match=cause):
            source.load(restored, f"{server.url}?location={tmp_path / 'target'}")
        assert not [one for one in server.asked if not one.startswith("GET")]
    assert not (tmp_path / "target").exists()


def test_a_target_without_a_place_is_refused(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    with pytest.raises(RefusedError, match="names no directory"):
        source.load(tmp_path, "http://127.0.0.1:9200")
    with pytest.raises(PolicyError, match="credentials"):
        source.load(tmp_path, "http://user:hunter2@127.0.0.1:9200?location=/srv")


def test_a_failed_restore_leaves_nothing(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    _, restored = taken(source, tmp_path)
    failing = {"cluster": "other", "fault": _failing("POST", "_restore")}
    with served("elasticsearch", tmp_path, **failing) as target:
        with pytest.raises(UnavailableError, match="no space left"):
            source.load(restored, f"{target.url}?location={tmp_path / 'target'}")
        assert (target.indices, target.repositories) == ({}, {})
    assert not (tmp_path / "target").exists()


def _failing(method: str, word: str) -> Json:
    cause = {"type": "io_exception", "reason": "no space left on device"}
    answer = (500, {"error": {"root_cause": [cause], **cause}, "status": 500})
    return lambda asked, path: answer if (asked == method and word in path) else None


@pytest.mark.parametrize("state", ["PARTIAL", "FAILED"])
def test_a_snapshot_that_lacks_shards_is_none(
    live: SearchServer, tmp_path: Path, state: str
) -> None:
    live.state = state
    with pytest.raises(IntegrityError, match=state):
        capture_into(search_source(live), tmp_path / "restored", tmp_path)
    assert snapshots_in(live) == []


def test_what_a_killed_run_left_is_swept(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    capture_into(source, tmp_path / "first", tmp_path)
    root = live.path_repo / "live"
    for name in ("llmvault-documents-1", "somebody-elses"):
        live.answer("PUT", f"/_snapshot/llmvault/{name}", {"indices": "notes"}, "")
    capture_into(source, tmp_path / "second", tmp_path)
    assert [one["name"] for one in snapshots_in(live)] == ["somebody-elses"]
    assert root.is_dir()


def test_writes_meanwhile_are_told(live: SearchServer, tmp_path: Path) -> None:
    def write(method: str, path: str) -> None:
        if method == "PUT" and "/llmvault-" in path:
            live.put("notes", "late", {"text": "written meanwhile"})

    live.fault = write
    recorded, _ = taken(search_source(live), tmp_path)
    told = [(one.name, one.path, one.severity) for one in recorded.findings]
    assert told == [("changed-during-capture", "notes", "unproven")]


@pytest.mark.parametrize(
    ("more", "error", "cause"),
    [
        ({"kind": "opensearch"}, PolicyError, "the server is opensearch"),
        ({"guarded": True}, UnavailableError, "refuses access"),
        ({"fault": lambda m, p: (200, b"<html>")}, UnavailableError, "in JSON"),
        ({"fault": lambda m, p: (200, {"hello": 1})}, UnavailableError, "neither"),
        ({"fault": _failing("GET", "_count")}, UnavailableError, "no space left"),
    ],
)
def test_a_server_that_is_not_as_declared(
    repositories: Path, more: dict[str, Any], error: type[VaultError], cause: str
) -> None:
    declared = {"kind": "elasticsearch", **more}
    with served(declared.pop("kind"), repositories, **declared) as server:
        search_server.filled(server)
        config = ElasticsearchSource(kind="elasticsearch", url=server.url, path=repositories)
        source = ElasticsearchIndexes("documents", config, local_ports(ENVIRONMENT))
        with pytest.raises(error, match=cause):
            source.observe()


def test_a_repository_that_is_another_is_refused(live: SearchServer, tmp_path: Path) -> None:
    live.repositories["llmvault"] = {"type": "s3", "settings": {"bucket": "b"}}
    with pytest.raises(PolicyError, match="is not one of files"):
        capture_into(search_source(live), tmp_path / "restored", tmp_path)
    outside = SearchServer("elasticsearch", tmp_path / "elsewhere", url=live.url)
    outside.path_repo.mkdir()
    live.repositories.clear()
    with pytest.raises(UnavailableError, match=r"path\.repo"):
        capture_into(search_source(outside), tmp_path / "again", tmp_path)


def test_missing_and_no_indices_are_told(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live, indices=["notes", "absent"])
    assert [(one.name, one.path) for one in source.observe().findings] == [
        ("index-missing", "absent")
    ]
    live.indices.clear()
    recorded, _ = taken(search_source(live), tmp_path)
    assert [(one.name, one.severity) for one in recorded.findings] == [("no-indexes", "unproven")]


def test_without_a_scratch_server_it_is_not_brought_up(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    _, restored = taken(source, tmp_path)
    with (
        pytest.raises(UnavailableError, match="no server"),
        source.open_restored(restored, tmp_path),
    ):
        pass


def test_a_snapshot_that_only_seems_complete(live: SearchServer, tmp_path: Path) -> None:
    source = search_source(live)
    recorded, restored = taken(source, tmp_path)
    listing = json.loads((restored / "index-0").read_text())
    listing["snapshots"][0]["state"] = 3
    (restored / "index-0").write_text(json.dumps(listing))
    (check,) = source.check(restored, recorded)
    assert (check.verdict, "not complete" in check.detail) == (Verdict.FAILED, True)


def weaviate_source(
    live: WeaviateServer, scratch: WeaviateServer | None = None, **more: Json
) -> Json:
    """Return the driver of a fake server."""
    declared: dict[str, Any] = {
        "kind": "weaviate",
        "url": live.url,
        "path": live.directory,
        "token": parse_secret_ref("env:WEAVIATE_KEY") if live.guarded else None,
        **more,
    }
    if scratch is not None:
        declared["scratch"] = {"url": scratch.url, "path": scratch.directory}
    config = WeaviateSource.model_validate(declared)
    return WeaviateCollections("documents", config, local_ports(ENVIRONMENT))


def weaviate(place: Path, **more: Json) -> Json:
    place.mkdir(exist_ok=True)
    return weaviate_server.weaviate_server(WeaviateServer(place, **more))


class TestWeaviate(SourceContract, OpensContract):
    """A node with an API key, brought up in a node of another name."""

    @pytest.fixture
    def live_node(self, tmp_path: Path) -> Iterator[WeaviateServer]:
        with weaviate(tmp_path / "live", guarded=True) as server:
            yield weaviate_server.filled(server)

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Iterator[WeaviateServer]:
        with weaviate(tmp_path / "other", node="scratch-node", version="1.31.2") as server:
            yield server

    @pytest.fixture
    def example(self, live_node: WeaviateServer, scratch: WeaviateServer) -> SourceExample:
        return SourceExample(
            weaviate_source(live_node, scratch),
            files=frozenset({"backup_config.json", "node1/backup.json", "node1/Passage/chunk-1"}),
            collections=frozenset({"Passage", "Note"}),
            directory=live_node.directory,
            secrets=(weaviate_server.TOKEN,),
        )

    def fingerprint(self, example: SourceExample) -> object:
        """The server's directory of backups must be as empty as it was."""
        assert example.directory is not None
        return sorted(example.directory.iterdir())

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        nobody = WeaviateServer(tmp_path, url=f"http://127.0.0.1:{free_port()}")
        driver: Source = weaviate_source(nobody)
        return driver

    def damage(self, restored: Path) -> None:
        (restored / "node1" / "Note" / "chunk-1").unlink()

    @pytest.fixture(autouse=True)
    def nothing_stays(self, scratch: WeaviateServer) -> Iterator[None]:
        yield
        assert not scratch.classes
        assert not list(scratch.directory.iterdir())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WeaviateServer]:
    with weaviate(tmp_path / "live") as server:
        yield weaviate_server.filled(server)


def test_collections_are_loaded_into_a_fresh_server(node: WeaviateServer, tmp_path: Path) -> None:
    source = weaviate_source(node)
    recorded, restored = taken(source, tmp_path)
    with weaviate(tmp_path / "target", node="b") as target:
        found = source.load(restored, f"{target.url}?location={target.directory}")
        assert found == recorded.collections
        assert not list(target.directory.iterdir())
        with pytest.raises(RefusedError, match="has a collection Note already"):
            source.load(restored, f"{target.url}?location={target.directory}")
    with pytest.raises(RefusedError, match="the live server"):
        source.load(restored, f"{node.url}?location={tmp_path}")
    with pytest.raises(RefusedError, match="names no directory"):
        source.load(restored, "http://127.0.0.1:1")


def test_an_older_weaviate_is_refused(node: WeaviateServer, tmp_path: Path) -> None:
    source = weaviate_source(node)
    _, restored = taken(source, tmp_path)
    with (
        weaviate(tmp_path / "target", version="1.23.1") as target,
        pytest.raises(RefusedError, match="older than the server"),
    ):
        source.load(restored, f"{target.url}?location={target.directory}")


def test_a_failed_backup_leaves_nothing(node: WeaviateServer, tmp_path: Path) -> None:
    node.ends = "FAILED"
    with pytest.raises(IntegrityError, match="no space left"):
        capture_into(weaviate_source(node), tmp_path / "restored", tmp_path)
    assert not list(node.directory.iterdir())


def test_a_failed_weaviate_restore_leaves_nothing(node: WeaviateServer, tmp_path: Path) -> None:
    source = weaviate_source(node)
    _, restored = taken(source, tmp_path)
    with weaviate(tmp_path / "target", ends="FAILED") as target:
        with pytest.raises(IntegrityError, match="FAILED"):
            source.load(restored, f"{target.url}?location={target.directory}")
        assert not target.classes
        assert not list(target.directory.iterdir())


def test_a_backup_that_is_not_where_the_policy_says(node: WeaviateServer, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = weaviate_source(node, path=tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="is not there"):
        capture_into(source, tmp_path / "restored", tmp_path)


def test_tenants_are_told(node: WeaviateServer, tmp_path: Path) -> None:
    node.define("Tenanted", multiTenancyConfig={"enabled": True})
    recorded, _ = taken(weaviate_source(node), tmp_path)
    told = {(one.name, one.path, one.severity) for one in recorded.findings}
    assert told == {("tenants-not-read", "Tenanted", "unproven")}


def test_writes_to_weaviate_meanwhile_are_told(node: WeaviateServer, tmp_path: Path) -> None:
    def write(method: str, path: str) -> None:
        if (method, path) == ("POST", "/v1/backups/filesystem"):
            node.put("Note", "22222222-0000-4000-8000-000000000000", "late", [1.0, 2.0, 3.0])

    node.fault = write
    recorded, _ = taken(weaviate_source(node), tmp_path)
    told = [(one.name, one.path, one.severity) for one in recorded.findings]
    assert told == [("changed-during-capture", "Note", "unproven")]


def test_what_a_killed_run_left_at_weaviate_is_swept(node: WeaviateServer, tmp_path: Path) -> None:
    for name in ("llmvault-documents-1", "somebody-elses"):
        (node.directory / name).mkdir()
    taken(weaviate_source(node), tmp_path)
    assert [path.name for path in node.directory.iterdir()] == ["somebody-elses"]


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"guarded": True}, "refuses access"),
        ({"fault": lambda m, p: (200, {"hello": 1})}, "as Weaviate does"),
        ({"fault": lambda m, p: (422, {"error": [{"message": "no module"}]})}, "no module"),
    ],
)
def test_a_weaviate_that_is_not_as_declared(
    tmp_path: Path, more: dict[str, Any], cause: str
) -> None:
    with weaviate(tmp_path / "live", **more) as server:
        config = WeaviateSource(kind="weaviate", url=server.url, path=tmp_path)
        source = WeaviateCollections("documents", config, local_ports(ENVIRONMENT))
        with pytest.raises(VaultError, match=cause):
            source.observe()
