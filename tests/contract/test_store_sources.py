"""The drivers of stores pass the suite of sources, with real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from llmvault.core.secrets import parse_secret_ref
from llmvault.policy.sources import ChromaSource, PostgresSource
from llmvault.sources.chroma import ChromaStore
from llmvault.sources.interface import Source
from llmvault.sources.postgres import PostgresDatabase
from llmvault.sources.registry import build_source
from tests.contract.bad_input import AwkwardPointsContract, BadInputContract
from tests.contract.records import RECORDS, RecordsContract, flip_a_vector
from tests.contract.source import OpensContract, SourceContract, SourceExample, local_ports
from tests.servers import PostgresServer, chroma_server, free_port, postgres_server

if TYPE_CHECKING:
    from chromadb.api.client import Client

pytestmark = pytest.mark.integration


def fill_chroma(directory: Path, *, deleted: int = 20) -> None:
    """Make a store with two collections, one of them saved to index files."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    opened = chromadb.PersistentClient(str(directory), settings=settings)
    with cast("Client", opened) as client:
        passages = client.create_collection(
            "passages",
            configuration={"hnsw": {"space": "cosine", "sync_threshold": 100, "batch_size": 50}},
            metadata={"purpose": "tests"},
            embedding_function=None,
        )
        keys = [f"p{index:03}" for index in range(250)]
        passages.add(
            ids=keys,
            embeddings=cast("Any", [[1.0 + i, i % 7, i % 11, 0.5] for i in range(250)]),
            documents=[f"passage {index}" for index in range(250)],
            metadatas=[
                {"page": index, "score": index / 3, "even": index % 2 == 0} for index in range(250)
            ],
        )
        passages.delete(ids=keys[:deleted])
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["only"], embeddings=cast("Any", [[0.25, 0.5]]))


@pytest.fixture(scope="module")
def chroma_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("chroma") / "live"
    fill_chroma(directory)
    return directory


@pytest.fixture(scope="module")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("chroma") / "live"
    fill_chroma(directory)
    with chroma_server(directory) as url:
        yield url


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    url = postgres.create("live")
    with postgres.connect("live") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE passages (id int PRIMARY KEY, t text, v vector(4))")
        connection.execute(
            "INSERT INTO passages SELECT i, 'passage ' || i, "
            "ARRAY[i, i % 7, i % 11, 0.5]::vector FROM generate_series(1, 200) AS i"
        )
        connection.execute("CREATE INDEX ON passages USING hnsw (v vector_cosine_ops)")
    return url


class TestChromaDirectory(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def example(self, chroma_directory: Path) -> SourceExample:
        segment = next(chroma_directory.glob("*/index_metadata.pickle")).parent
        return SourceExample(
            ChromaStore(
                "vectors", ChromaSource(kind="chroma", path=chroma_directory), local_ports()
            ),
            files=frozenset({"chroma.sqlite3", f"{segment.name}/data_level0.bin"}),
            collections=frozenset({"passages", "notes"}),
            directory=chroma_directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = ChromaSource(kind="chroma", path=tmp_path / "nowhere")
        return ChromaStore("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        index = next(restored.glob("*/data_level0.bin"))
        index.write_bytes(index.read_bytes()[:-100])


class TestChromaServer(SourceContract, OpensContract):
    @pytest.fixture
    def example(self, chroma_url: str) -> SourceExample:
        return SourceExample(
            build_source("vectors", ChromaSource(kind="chroma", url=chroma_url), local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"passages", "notes"}),
        )

    @pytest.fixture
    def missing(self) -> Source:
        config = ChromaSource(kind="chroma", url=f"http://127.0.0.1:{free_port()}")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


class TestChromaRecords(SourceContract, OpensContract, RecordsContract, AwkwardPointsContract):
    @pytest.fixture
    def example(self, chroma_directory: Path) -> SourceExample:
        config = ChromaSource(kind="chroma", path=chroma_directory, capture="records")
        return SourceExample(
            build_source("vectors", config, local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"passages", "notes"}),
            directory=chroma_directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = ChromaSource(kind="chroma", path=tmp_path / "nowhere", capture="records")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


class TestPostgres(SourceContract, OpensContract):
    @pytest.fixture
    def example(self, postgres: PostgresServer, database: str) -> SourceExample:
        config = PostgresSource(
            kind="postgres",
            url=database,
            password=parse_secret_ref("env:DATABASE_PASSWORD"),
            binaries=postgres.programs,
        )
        ports = local_ports({"PATH": "/usr/bin:/bin", "DATABASE_PASSWORD": postgres.password})
        return SourceExample(
            PostgresDatabase("documents", config, ports),
            files=frozenset({"database.tar"}),
            collections=frozenset({"passages", "passages.v"}),
            secrets=(postgres.password,),
        )

    @pytest.fixture
    def missing(self) -> Source:
        url = f"postgresql://postgres@127.0.0.1:{free_port()}/live"
        config = PostgresSource(kind="postgres", url=url)
        return PostgresDatabase("documents", config, local_ports())

    def fingerprint(self, example: SourceExample) -> object:
        assert isinstance(example.source, PostgresDatabase)
        with example.source.open_live() as live:
            return live.describe()

    def assert_released(self, example: SourceExample) -> None:
        give_up = time.monotonic() + 10  # the server notices a closed connection a little later
        while left := sessions(example):
            assert time.monotonic() < give_up, left
            time.sleep(0.05)

    def damage(self, restored: Path) -> None:
        archive = restored / "database.tar"
        archive.write_bytes(archive.read_bytes()[:2048])


class TestPostgresRecords(TestPostgres, RecordsContract, AwkwardPointsContract):
    @pytest.fixture
    def example(self, postgres: PostgresServer, database: str) -> SourceExample:
        config = PostgresSource(
            kind="postgres",
            url=database,
            password=parse_secret_ref("env:DATABASE_PASSWORD"),
            binaries=postgres.programs,
            capture="records",
        )
        ports = local_ports({"PATH": "/usr/bin:/bin", "DATABASE_PASSWORD": postgres.password})
        return SourceExample(
            build_source("documents", config, ports),
            files=RECORDS | {"passages/000000.parquet", "passages/collection.json"},
            collections=frozenset({"passages"}),
            secrets=(postgres.password,),
        )

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


def sessions(example: SourceExample) -> list[object]:
    """Return the sessions of others in the example's database."""
    from llmvault.sources.postgres.connection import connected

    assert isinstance(example.source, PostgresDatabase)
    query = (
        "SELECT application_name, state, query FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    with connected(example.source._address()) as connection:
        return list(connection.execute(query).fetchall())
