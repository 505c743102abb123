"""The driver of Qdrant passes the suites: on its own engine, and on a server's documented API."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.policy.sources import QdrantSource
from llmvault.sources.interface import Source
from llmvault.sources.registry import build_source
from tests.contract.bad_input import AwkwardPointsContract, BadInputContract
from tests.contract.records import RECORDS, RecordsContract, flip_a_vector
from tests.contract.source import OpensContract, SourceContract, SourceExample, local_ports
from tests.fakes import stores
from tests.fakes.qdrant_server import FakeQdrant, fake_qdrant
from tests.servers import free_port

pytestmark = pytest.mark.integration

KEY = "key of a test"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("qdrant") / "live"
    stores.fill_qdrant(directory)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeQdrant]:
    with fake_qdrant(tmp_path_factory.mktemp("qdrant-server")) as cluster:
        cluster.create("passages", {"vectors": {"size": 4, "distance": "Cosine"}})
        cluster.put("passages", stores.qdrant_points())
        cluster.aliases["current"] = "passages"
        cluster.api_key = KEY
        yield cluster


@pytest.fixture(scope="module")
def odd_vectors(server: FakeQdrant) -> Iterator[FakeQdrant]:
    """The same server with vectors that no other store knows; snapshots would be large."""
    body = {
        "vectors": {
            "title": {"size": 2, "distance": "Dot"},
            "tokens": {"size": 2, "distance": "Dot",
                       "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {"words": {}},
    }  # fmt: skip
    server.create("odd", body)
    some = {"title": [0.25, 0.5], "tokens": [[1.0, 2.0], [3.0, 4.0]],
            "words": {"indices": [1, 7], "values": [0.5, 0.1]}}  # fmt: skip
    server.put("odd", [{"id": 1, "vector": some}, {"id": str(uuid.UUID(int=1)), "vector": {}}])
    yield server
    server.drop("odd")


def at_server(server: FakeQdrant, **more: object) -> Source:
    config = QdrantSource.model_validate(
        {"kind": "qdrant", "url": server.urls[0], "nodes": server.urls[1:], "token": "env:KEY"}
        | more
    )
    return build_source("vectors", config, local_ports({"PATH": "/usr/bin:/bin", "KEY": KEY}))


class TestQdrantShards(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def example(self, shards: Path) -> SourceExample:
        config = QdrantSource(kind="qdrant", path=shards, collections=("notes",))
        return SourceExample(
            build_source("vectors", config, local_ports()),
            files=frozenset({"passages/edge_config.json", "notes/edge_config.json"}),
            collections=frozenset({"passages", "notes"}),
            directory=shards,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = QdrantSource(kind="qdrant", path=tmp_path / "nowhere")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        mappings = next(restored.glob("passages/segments/*/mutable_id_tracker.mappings"))
        content = mappings.read_bytes()
        mappings.write_bytes(content[: len(content) // 2])


class TestQdrantShardsAsRecords(
    SourceContract, OpensContract, RecordsContract, AwkwardPointsContract
):
    @pytest.fixture
    def example(self, shards: Path) -> SourceExample:
        config = QdrantSource(kind="qdrant", path=shards, capture="records")
        return SourceExample(
            build_source("vectors", config, local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"passages", "notes"}),
            directory=shards,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = QdrantSource(kind="qdrant", path=tmp_path / "nowhere", capture="records")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


class TestQdrantServer(SourceContract, OpensContract):
    @pytest.fixture
    def example(self, server: FakeQdrant) -> SourceExample:
        return SourceExample(
            at_server(server),
            files=frozenset({"qdrant.json", "collections/passages/0.snapshot"}),
            collections=frozenset({"passages"}),
            secrets=(KEY,),
        )

    @pytest.fixture
    def missing(self) -> Source:
        config = QdrantSource(kind="qdrant", url=f"http://127.0.0.1:{free_port()}")
        return build_source("vectors", config, local_ports())

    @pytest.fixture(autouse=True)
    def _nothing_left(self, server: FakeQdrant) -> Iterator[None]:
        yield
        assert not server.snapshots

    def damage(self, restored: Path) -> None:
        snapshot = restored / "collections" / "passages" / "0.snapshot"
        content = bytearray(snapshot.read_bytes())
        content[len(content) // 2] ^= 1
        snapshot.write_bytes(content)


class TestQdrantServerAsRecords(SourceContract, OpensContract, RecordsContract):
    @pytest.fixture
    def example(self, odd_vectors: FakeQdrant) -> SourceExample:
        return SourceExample(
            at_server(odd_vectors, capture="records"),
            files=RECORDS | {"passages/000000.parquet", "odd/collection.json"},
            collections=frozenset({"passages", "odd"}),
            secrets=(KEY,),
        )

    @pytest.fixture
    def missing(self) -> Source:
        url = f"http://127.0.0.1:{free_port()}"
        config = QdrantSource(kind="qdrant", url=url, capture="records")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")
