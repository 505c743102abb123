"""The drivers of stores that live in files pass the suite of sources, on their real engines."""

from __future__ import annotations

import hashlib
import json
import pickle
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from llmvault.core.errors import UnprovenError
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import FaissSource, LancedbSource, SqliteSource
from llmvault.sources.faiss import FaissIndexes
from llmvault.sources.interface import ImportsRecords, Source
from llmvault.sources.lancedb import LanceDatabase
from llmvault.sources.records.load import import_capture
from llmvault.sources.records.reading import read_capture
from llmvault.sources.registry import build_source
from llmvault.sources.sqlite import SqliteDatabase
from tests.contract.bad_input import AwkwardPointsContract, BadInputContract
from tests.contract.records import RECORDS, RecordsContract, flip_a_vector
from tests.contract.source import (
    OpensContract,
    SourceContract,
    SourceExample,
    capture_into,
    fingerprint_tree,
    local_ports,
)
from tests.fakes import stores

PROVEN = Verdict.PROVEN
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sqlite_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sqlite")
    stores.fill_sqlite(directory / "passages.db")
    return directory


@pytest.fixture(scope="module")
def sqlite_wal_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sqlite-wal")
    stores.fill_sqlite(directory / "passages.db", journal="wal")
    return directory


@pytest.fixture(scope="module")
def lancedb_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lancedb") / "live"
    stores.fill_lancedb(directory)
    return directory


@pytest.fixture(scope="module")
def faiss_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faiss") / "live"
    stores.fill_faiss(directory)
    return directory


class TestSqlite(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def directory(self, sqlite_directory: Path) -> Path:
        return sqlite_directory

    @pytest.fixture
    def example(self, directory: Path) -> SourceExample:
        config = SqliteSource(kind="sqlite", path=directory / "passages.db", tables=("notes",))
        return SourceExample(
            SqliteDatabase("passages", config, local_ports()),
            files=frozenset({"passages.db"}),
            collections=frozenset({"notes", "passages", "passages.embedding"}),
            directory=directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = SqliteSource(kind="sqlite", path=tmp_path / "nowhere.db")
        return SqliteDatabase("passages", config, local_ports())

    def damage(self, restored: Path) -> None:
        database = restored / "passages.db"
        content = bytearray(database.read_bytes())
        place = content.index(struct.pack("<4f", *stores.vector(7)))
        content[place] ^= 1  # the lowest bit of one value
        database.write_bytes(content)


class TestSqliteRecords(
    SourceContract, OpensContract, RecordsContract, BadInputContract, AwkwardPointsContract
):
    @pytest.fixture
    def example(self, sqlite_directory: Path) -> SourceExample:
        path = sqlite_directory / "passages.db"
        config = SqliteSource(kind="sqlite", path=path, capture="records")
        return SourceExample(
            build_source("passages", config, local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"notes", "pairs", "passages", "texts"}),
            directory=sqlite_directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = SqliteSource(kind="sqlite", path=tmp_path / "nowhere.db", capture="records")
        return build_source("passages", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


def test_a_database_in_wal_mode_is_captured_without_a_trace(
    sqlite_wal_directory: Path, tmp_path: Path
) -> None:
    config = SqliteSource(kind="sqlite", path=sqlite_wal_directory / "passages.db")
    source = SqliteDatabase("passages", config, local_ports())
    before = fingerprint_tree(sqlite_wal_directory)
    observed, _ = capture_into(source, tmp_path / "restored", tmp_path)
    with source.open_live() as live:
        assert live.search("passages.embedding", stores.vector(7), 1) == (stores.key(7),)
    assert fingerprint_tree(sqlite_wal_directory) == before
    assert combine(c.verdict for c in source.check(tmp_path / "restored", observed)) is PROVEN


class TestLancedb(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def directory(self, lancedb_directory: Path) -> Path:
        return lancedb_directory

    @pytest.fixture
    def example(self, directory: Path) -> SourceExample:
        manifest = max((directory / "passages.lance" / "_versions").glob("*.manifest"))
        assert manifest.stat().st_size
        newest = min((directory / "passages.lance" / "_versions").glob("*.manifest"))
        return SourceExample(
            LanceDatabase("passages", LancedbSource(kind="lancedb", path=directory), local_ports()),
            files=frozenset({f"passages.lance/_versions/{newest.name}"}),
            collections=frozenset({"passages", "passages.vector", "notes"}),
            directory=directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = LancedbSource(kind="lancedb", path=tmp_path / "nowhere")
        return LanceDatabase("passages", config, local_ports())

    def fingerprint(self, example: SourceExample) -> object:
        """Every file's content: a tag that comes and goes touches the times of its folder."""
        assert example.directory is not None
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(example.directory.rglob("*"))
            if path.is_file()
        }

    def assert_released(self, example: SourceExample) -> None:
        assert example.directory is not None
        assert not list(example.directory.rglob("llmvault-*"))

    def damage(self, restored: Path) -> None:
        data = max((restored / "passages.lance" / "data").iterdir(), key=lambda p: p.stat().st_size)
        content = bytearray(data.read_bytes())
        place = content.index(struct.pack("<4f", *stores.vector(7)))
        content[place] ^= 1
        data.write_bytes(content)


class TestLancedbRecords(TestLancedb, RecordsContract, AwkwardPointsContract):
    @pytest.fixture
    def example(self, directory: Path) -> SourceExample:
        config = LancedbSource(kind="lancedb", path=directory, capture="records")
        return SourceExample(
            build_source("passages", config, local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"passages", "notes"}),
            directory=directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = LancedbSource(kind="lancedb", path=tmp_path / "nowhere", capture="records")
        return build_source("passages", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "passages")


class TestFaiss(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def directory(self, faiss_directory: Path) -> Path:
        return faiss_directory

    @pytest.fixture
    def example(self, directory: Path) -> SourceExample:
        config = FaissSource(kind="faiss", path=directory, id_maps={"flat.faiss": "ids.json"})
        return SourceExample(
            FaissIndexes("passages", config, local_ports()),
            files=frozenset({"flat.faiss", "ids.json", "index.pkl", "more/ivf.index"}),
            collections=frozenset({"flat.faiss", "hnsw.faiss", "mapped.faiss", "more/ivf.index"}),
            directory=directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = FaissSource(kind="faiss", path=tmp_path / "nowhere")
        return FaissIndexes("passages", config, local_ports())

    def damage(self, restored: Path) -> None:
        ids = json.loads((restored / "ids.json").read_text())
        (restored / "ids.json").write_text(json.dumps(ids[:-1]))

    def test_a_pickle_is_flagged_and_never_loaded(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        bomb = tmp_path / "exploded"
        folder = tmp_path / "copy"
        stores.fill_faiss(folder)
        (folder / "index.pkl").write_bytes(pickle.dumps(stores.Bomb(str(bomb))))
        config = FaissSource(kind="faiss", path=folder)
        source = FaissIndexes("passages", config, local_ports())
        found = [each for each in source.observe().findings if each.name == "pickle"]
        assert [each.path for each in found] == ["index.pkl"]
        source.check(folder, source.observe())
        assert not bomb.exists()


class TestFaissRecords(SourceContract, OpensContract, RecordsContract, AwkwardPointsContract):
    @pytest.fixture
    def example(self, faiss_directory: Path) -> SourceExample:
        config = FaissSource(
            kind="faiss",
            path=faiss_directory,
            capture="records",
            id_maps={"flat.faiss": "ids.json", "hnsw.faiss": "ids.json"},
            docstores={"flat.faiss": "docstore.json", "hnsw.faiss": "docstore.db"},
            subject_field="who",
        )
        return SourceExample(
            build_source("passages", config, local_ports()),
            files=RECORDS | {"flat.faiss/000000.parquet", "more%2Fivf.index/collection.json"},
            collections=frozenset({"flat.faiss", "hnsw.faiss", "mapped.faiss", "more/ivf.index"}),
            directory=faiss_directory,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = FaissSource(kind="faiss", path=tmp_path / "nowhere", capture="records")
        return build_source("passages", config, local_ports())

    def damage(self, restored: Path) -> None:
        flip_a_vector(restored / "flat.faiss")

    def test_documents_and_index_settings_come_back(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        capture_into(example.source, tmp_path / "restored", tmp_path)
        made = tmp_path / "made"
        assert isinstance(example.source, ImportsRecords)
        with example.source.target(str(made)) as target:
            import_capture(target, read_capture(tmp_path / "restored"))
            found = {one.name: one.vectors[0] for one in target.record_sets()}
        assert found["hnsw.faiss"].index["m"] == 8
        assert found["more/ivf.index"].index == {"kind": "ivfflat", "lists": 1}
        assert found["mapped.faiss"].distance == "ip"
        assert example.directory is not None
        for name in ("ids.json", "docstore.json"):
            before, after = ((root / name).read_text() for root in (example.directory, made))
            assert json.loads(after) == json.loads(before)
        rows = "SELECT * FROM docs ORDER BY id"
        for root in (example.directory, made):
            with closing(sqlite3.connect(root / "docstore.db")) as connection:
                assert connection.execute(rows).fetchall()[7] == (stores.key(7), "passage 7", 7)
        assert not (made / "index.pkl").exists()

    def test_an_index_of_codes_is_refused(self, tmp_path: Path) -> None:
        import faiss
        import numpy as np

        index = faiss.IndexScalarQuantizer(4, faiss.ScalarQuantizer.QT_8bit)
        index.train(np.eye(4, dtype=np.float32))
        faiss.write_index(index, str(tmp_path / "codes.faiss"))
        config = FaissSource(kind="faiss", path=tmp_path, capture="records")
        source = build_source("codes", config, local_ports())
        with pytest.raises(UnprovenError, match="as they were given"):
            capture_into(source, tmp_path.parent / "restored", tmp_path.parent)
