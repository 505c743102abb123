"""Drivers that erase: nothing of a person is left in the files of real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError
from llmvault.core.secrets import parse_secret_ref
from llmvault.core.verdict import Verdict
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
from llmvault.sources.interface import Doomed, Erases, ProbesResidue, Sought, Source
from llmvault.sources.registry import build_source
from tests.contract.erasure import Erasable, ErasesContract
from tests.contract.source import local_ports
from tests.fakes import erasable as fill
from tests.fakes import stores
from tests.fakes.qdrant_server import fake_qdrant
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


def at_postgres(server: PostgresServer, url: str, password: str) -> Source:
    config = PostgresSource(
        kind="postgres",
        url=url,
        password=parse_secret_ref("env:DATABASE_PASSWORD"),
        subject_field="who",
    )
    ports = local_ports({"PATH": "/usr/bin:/bin", "DATABASE_PASSWORD": password})
    return build_source("store", config, ports)


def test_what_a_role_may_not_do_is_pending_and_unproven(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    fill.fill_postgres(postgres, "narrow")
    with postgres.connect("narrow") as connection:
        connection.execute("CREATE ROLE app LOGIN PASSWORD 'of the app'")
        connection.execute("GRANT CREATE ON SCHEMA public TO app")
        connection.execute("ALTER TABLE points OWNER TO app")
        connection.execute("GRANT SELECT ON loose TO app")
    source = at_postgres(postgres, postgres.url("narrow", role="app"), "of the app")
    assert isinstance(source, Erases)
    assert isinstance(source, ProbesResidue)
    with pytest.raises(RefusedError, match="may not delete"):
        source.erase([Doomed("loose", subjects=frozenset({"gone"}))], tmp_path)
    erased = source.erase([Doomed("points", subjects=frozenset({"gone"}))], tmp_path)
    assert erased.deleted == {"points": 20}
    assert any("pg_statistic" in one for one in erased.pending), erased
    assert any("CHECKPOINT" in one or "pg_switch_wal" in one for one in erased.pending), erased
    with postgres.connect("narrow") as connection:
        connection.execute("DELETE FROM loose WHERE who = 'gone'")
    wanted = Sought(texts=(fill.text(0),), vectors=(fill.packed(0),))
    control = Sought(texts=(fill.text(1),), vectors=(fill.packed(1),))
    verdict, why = source.probe(wanted, control, tmp_path).judged()
    assert verdict is Verdict.UNPROVEN
    assert "pg_read_server_files" in why


def test_rows_that_others_refer_to_are_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    url = fill.fill_postgres(postgres, "related")
    with postgres.connect("related") as connection:
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY, of int REFERENCES points)")
        connection.execute("INSERT INTO notes VALUES (1, 0)")
    source = at_postgres(postgres, url, postgres.password)
    assert isinstance(source, Erases)
    with pytest.raises(RefusedError, match="forbids it"):
        source.erase([Doomed("points", subjects=frozenset({"gone"}))], tmp_path)
    with postgres.connect("related") as connection:
        found = connection.execute("SELECT count(*) FROM points WHERE who = 'gone'").fetchone()
    assert found == (20,)


def test_a_tag_that_keeps_a_version_is_pending_and_found(tmp_path: Path) -> None:
    import lancedb

    path = tmp_path / "lance"
    fill.fill_lancedb(path)
    lancedb.connect(path).open_table("points").tags.create("release", 1)
    config = LancedbSource(kind="lancedb", path=path, subject_field="who")
    source = build_source("store", config, local_ports())
    assert isinstance(source, Erases)
    assert isinstance(source, ProbesResidue)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    erased = source.erase([Doomed(subjects=frozenset({"gone"}))], tmp_path / "one")
    assert erased.deleted == {"points": 20}
    assert any("tag release keeps" in one for one in erased.pending), erased
    wanted, control = Sought(texts=(fill.text(0),)), Sought(texts=(fill.text(1),))
    report = source.probe(wanted, control, tmp_path / "two")
    assert report.judged()[0] is Verdict.FAILED
    assert "version 1 of points" in {one.where for one in report.found}


def test_a_server_deletes_and_tells_what_is_pending(tmp_path: Path) -> None:
    with fake_qdrant(tmp_path / "server") as server:
        server.create("passages", {"vectors": {"size": 4, "distance": "Cosine"}})
        server.put("passages", stores.qdrant_points())
        config = QdrantSource(kind="qdrant", url=server.urls[0], nodes=tuple(server.urls[1:]))
        source = build_source("store", config, local_ports())
        assert isinstance(source, Erases)
        assert isinstance(source, ProbesResidue)
        erased = source.erase([Doomed("passages", ids=frozenset({"3", "7"}))], tmp_path)
        assert erased.deleted == {"passages": 2}
        assert "keep deleted points" in erased.pending[0]
        assert source.observe().collections[0].count == stores.COUNT - 2
        sought = Sought(texts=("whatever it was",))
        assert source.probe(sought, sought, tmp_path).judged()[0] is Verdict.UNPROVEN
