"""Drivers that erase: nothing of a person is left in the files of real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.core.secrets import parse_secret_ref
from llmvault.policy.sources import (
    ChromaSource,
    FaissSource,
    LancedbSource,
    MilvusSource,
    PostgresSource,
    QdrantSource,
    SqliteSource,
)
from llmvault.policy.sources import Source as SourceConfig
from llmvault.sources.registry import build_source
from tests.contract.erasure import Erasable, ErasesContract
from tests.contract.source import local_ports
from tests.fakes import erasable as fill
from tests.servers import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "live"
    place.mkdir()
    return place


def named(config: SourceConfig) -> SourceConfig:
    """Return a policy that says which field names a person."""
    return config.model_copy(update={"subject_field": "who"})


class TestSqlite(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "live.db"
        fill.fill_sqlite(path)
        config = SqliteSource(kind="sqlite", path=path)
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_sqlite(path),
            place,
            frozenset({"points", "words", "notes"}),
        )


class TestLancedb(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "lance"
        fill.fill_lancedb(path)
        config = LancedbSource(kind="lancedb", path=path)
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_lancedb(path),
            place,
        )


class TestChroma(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "chroma"
        fill.fill_chroma(path)
        config = ChromaSource(kind="chroma", path=path)
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_chroma(path),
            place,
        )


class TestQdrant(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "qdrant"
        fill.fill_qdrant(path)
        config = QdrantSource(kind="qdrant", path=path)
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_qdrant(path),
            place,
        )


class TestFaiss(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "faiss"
        fill.fill_faiss(path)
        config = FaissSource(
            kind="faiss",
            path=path,
            indexes=("points",),
            id_maps={"points": "ids.json"},
            docstores={"points": "documents.json"},
        )
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_faiss(path),
            place,
            forgets=False,
        )


class TestMilvus(ErasesContract):
    @pytest.fixture
    def erasable(self, place: Path) -> Erasable:
        path = place / "live.db"
        fill.fill_milvus(path)
        config = MilvusSource(kind="milvus", path=path)
        return Erasable(
            build_source("store", named(config), local_ports()),
            build_source("store", config, local_ports()),
            lambda: fill.delete_in_milvus(path),
            place,
        )


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


class TestPostgres(ErasesContract):
    @pytest.fixture
    def erasable(self, postgres: PostgresServer, request: pytest.FixtureRequest) -> Erasable:
        name = f"live{abs(hash(request.node.name)) % 10_000}"
        config = PostgresSource(
            kind="postgres",
            url=fill.fill_postgres(postgres, name),
            password=parse_secret_ref("env:DATABASE_PASSWORD"),
        )
        ports = local_ports({"PATH": "/usr/bin:/bin", "DATABASE_PASSWORD": postgres.password})
        return Erasable(
            build_source("store", named(config), ports),
            build_source("store", config, ports),
            lambda: fill.delete_in_postgres(postgres, name),
            collections=frozenset({"points", "loose"}),
        )
