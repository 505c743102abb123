"""SQLite, LanceDB and FAISS, for real: bad input, refused targets, and nothing left behind."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import FaissSource, LancedbSource, SqliteSource
from llmvault.sources.faiss import FaissIndexes
from llmvault.sources.interface import Observation, Source
from llmvault.sources.lancedb import LanceDatabase
from llmvault.sources.lancedb.directory import copy_tables
from llmvault.sources.sqlite import SqliteDatabase
from llmvault.sources.stores import files
from tests.contract.source import capture_into, local_ports
from tests.fakes import stores

pytestmark = pytest.mark.integration


def sqlite_at(path: Path, **more: object) -> SqliteDatabase:
    config = SqliteSource.model_validate({"kind": "sqlite", "path": path, **more})
    return SqliteDatabase("passages", config, local_ports())


def faiss_at(path: Path, **more: object) -> FaissIndexes:
    config = FaissSource.model_validate({"kind": "faiss", "path": path, **more})
    return FaissIndexes("passages", config, local_ports())


def lance_at(path: Path, **more: object) -> LanceDatabase:
    config = LancedbSource.model_validate({"kind": "lancedb", "path": path, **more})
    return LanceDatabase("passages", config, local_ports())


def captured(source: Source, tmp_path: Path) -> tuple[Path, Observation]:
    observation, _ = capture_into(source, tmp_path / "restored", tmp_path)
    return tmp_path / "restored", observation


def grave(observation: Observation) -> set[tuple[str, str]]:
    found = observation.findings
    return {(each.name, each.severity) for each in found if each.severity != "warning"}


def verdicts(source: Source, restored: Path, recorded: Observation) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in source.check(restored, recorded)}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "passages.db"
    path.parent.mkdir()
    stores.fill_sqlite(path)
    return path


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    stores.fill_faiss(tmp_path / "live")
    return tmp_path / "live"


@pytest.fixture
def lance(tmp_path: Path) -> Path:
    stores.fill_lancedb(tmp_path / "live")
    return tmp_path / "live"


# ---- SQLite -------------------------------------------------------------------------------------


def test_a_table_that_the_policy_names_is_missed(database: Path) -> None:
    assert grave(sqlite_at(database, tables=["users"]).observe()) == {("table-missing", "failed")}


def test_a_database_without_tables_is_unproven(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    source = sqlite_at(empty)
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {("no-tables", "unproven")}
    assert combine(verdicts(source, restored, recorded).values()) is Verdict.UNPROVEN


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(IntegrityError, match="not a database"):
        sqlite_at(text).observe()


def test_a_transaction_of_a_killed_writer_is_rolled_back_in_the_copy(
    database: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        rows = [(1000 + number, "x" * 4000) for number in range(500)]
        writer.executemany("INSERT INTO notes (id, body) VALUES (?, ?)", rows)
        torn = tmp_path / "torn"
        shutil.copytree(database.parent, torn)
    assert (torn / "passages.db-journal").stat().st_size
    _, recorded = captured(sqlite_at(torn / "passages.db"), tmp_path)
    assert {facts.name: facts.count for facts in recorded.collections}["notes"] == 2
    assert not grave(recorded)


def test_a_locked_database_is_unavailable(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmvault.sources.sqlite.store._BUSY_SECONDS", 0.1)
    source = sqlite_at(database)
    staging = tmp_path / "staging"
    staging.mkdir()
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="locked"), source.capture(staging):
            pass


def test_a_text_of_16_mib_and_a_vector_of_nan_are_captured(database: Path, tmp_path: Path) -> None:
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(database))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute("INSERT INTO notes (id, body) VALUES (0, ?)", ("é" * (8 << 20),))
    connection.execute(
        "INSERT INTO passages VALUES ('nan', ?, 's', '')", (b"\x00\x00\xc0\x7f" * 4,)
    )
    connection.close()
    source = sqlite_at(database)
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {("vector-not-finite", "unproven")}
    found = verdicts(source, restored, recorded)
    assert found["vector-not-finite"] is Verdict.UNPROVEN
    assert found["samples"] is Verdict.PROVEN


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ("ALTER TABLE notes ADD COLUMN more", "settings"),
        ("DROP INDEX notes_by_score", "settings"),
        ("DELETE FROM notes WHERE id = 1", "collections"),
        ("UPDATE notes SET score = 0.1000000000000001 WHERE id = 1", "samples"),
        ("CREATE TABLE more (n)", "collections"),
    ],
)
def test_what_differs_from_the_recorded_fails(
    database: Path, tmp_path: Path, change: str, check: str
) -> None:
    source = sqlite_at(database)
    restored, recorded = captured(source, tmp_path)
    with closing(sqlite3.connect(restored / "passages.db", isolation_level=None)) as connection:
        connection.execute(change)
    assert verdicts(source, restored, recorded)[check] is Verdict.FAILED


def test_a_database_is_loaded_into_a_new_file_only(database: Path, tmp_path: Path) -> None:
    source = sqlite_at(database)
    restored, recorded = captured(source, tmp_path)
    before = database.read_bytes()
    target = tmp_path / "new" / "passages.db"
    assert source.load(restored, str(target)) == recorded.collections
    for refused in (target, database, database.parent / "passages.db"):
        with pytest.raises(RefusedError):
            source.load(restored, str(refused))
    with pytest.raises(RefusedError, match="a place on this host"):
        source.load(restored, "https://example.org/db")
    assert database.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["passages.db"]


def test_a_full_disk_leaves_nothing_of_a_load(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sqlite_at(database)
    restored, _ = captured(source, tmp_path)
    monkeypatch.setattr("llmvault.sources.sqlite.store.clone_file", full_disk)
    with pytest.raises(UnavailableError, match="No space left"):
        source.load(restored, str(tmp_path / "new" / "passages.db"))
    assert not list((tmp_path / "new").iterdir())


def full_disk(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:10])
    raise OSError(errno.ENOSPC, "No space left on device", str(target))


# ---- FAISS --------------------------------------------------------------------------------------


def test_a_truncated_index_fails(indexes: Path, tmp_path: Path) -> None:
    source = faiss_at(indexes)
    restored, recorded = captured(source, tmp_path)
    index = restored / "hnsw.faiss"
    index.write_bytes(index.read_bytes()[:300])
    assert verdicts(source, restored, recorded)["index-unread"] is Verdict.FAILED


def test_an_index_of_other_dimension_fails(indexes: Path, tmp_path: Path) -> None:
    import faiss
    import numpy as np

    source = faiss_at(indexes)
    restored, recorded = captured(source, tmp_path)
    other = faiss.IndexFlatL2(5)
    other.add(np.ones((stores.COUNT, 5), dtype=np.float32))
    faiss.write_index(other, str(restored / "flat.faiss"))
    assert verdicts(source, restored, recorded)["collections"] is Verdict.FAILED
    with (
        source.open_restored(restored, tmp_path) as opened,
        pytest.raises(IntegrityError, match="dimension is 5"),
    ):
        opened.search("flat.faiss", stores.vector(1), 1)


def test_vectors_of_nan_and_a_short_id_map_are_told(indexes: Path) -> None:
    import faiss
    import numpy as np

    index = faiss.read_index(str(indexes / "flat.faiss"))
    index.add(np.full((1, 4), np.nan, dtype=np.float32))
    faiss.write_index(index, str(indexes / "flat.faiss"))
    source = faiss_at(indexes, id_maps={"flat.faiss": "ids.json"})
    assert grave(source.observe()) == {
        ("vector-not-finite", "unproven"),
        ("id-map-mismatch", "failed"),
    }


def test_ids_of_the_map_are_what_a_search_returns(indexes: Path) -> None:
    source = faiss_at(indexes, id_maps={"flat.faiss": "ids.json"})
    with source.open_live() as live:
        assert live.search("flat.faiss", stores.vector(7), 2)[0] == stores.key(7)
        assert live.search("mapped.faiss", stores.vector(59), 1) == ("1059",)
        assert live.search("more/ivf.index", stores.vector(7), 1) == ("7",)


def test_a_directory_without_an_index_or_with_a_bad_map_is_never_green(
    indexes: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert grave(faiss_at(empty).observe()) == {("no-indexes", "unproven")}
    (indexes / "ids.json").write_text(json.dumps({"1": "x"}))
    source = faiss_at(indexes, id_maps={"flat.faiss": "ids.json"})
    assert grave(source.observe()) == {("index-unread", "failed")}
    assert grave(faiss_at(indexes, indexes=["gone.faiss"]).observe()) == {
        ("index-missing", "failed"),
        ("no-indexes", "unproven"),
    }


def test_indexes_are_loaded_into_a_new_directory_or_nothing_is_left(
    indexes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = faiss_at(indexes)
    restored, recorded = captured(source, tmp_path)
    assert source.load(restored, str(tmp_path / "new")) == recorded.collections
    for refused in (tmp_path / "new", indexes, indexes / "inner"):
        with pytest.raises(RefusedError):
            source.load(restored, str(refused))
    monkeypatch.setattr(files, "clone_file", full_disk)
    with pytest.raises(UnavailableError, match="No space left"):
        source.load(restored, str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


# ---- LanceDB ------------------------------------------------------------------------------------


def test_tags_of_a_killed_run_are_swept_and_those_of_the_user_kept(
    lance: Path, tmp_path: Path
) -> None:
    import lancedb

    table = lancedb.connect(lance).open_table("passages")
    table.tags.create("llmvault-capture-1", 1)
    restored, recorded = captured(lance_at(lance), tmp_path)
    assert not grave(recorded)
    assert set(table.tags.list()) == {"release"}
    assert not list(restored.rglob("llmvault-*"))
    again = lancedb.connect(restored).open_table("passages")
    assert again.count_rows() == stores.COUNT
    again.checkout("release")
    assert again.count_rows() == stores.COUNT + 1


def test_a_copy_holds_the_pinned_version_while_a_writer_goes_on(
    lance: Path, tmp_path: Path
) -> None:
    import lancedb

    table = lancedb.connect(lance).open_table("passages")
    pinned = int(table.version)
    table.delete("subject_id = 's1'")
    (tmp_path / "copy").mkdir()
    copy_tables(lance, tmp_path / "copy", {"passages": pinned})
    assert lancedb.connect(tmp_path / "copy").open_table("passages").count_rows() == stores.COUNT
    with pytest.raises(IntegrityError, match="manifest of its version 99"):
        copy_tables(lance, tmp_path / "copy", {"notes": 99})


def test_a_lost_data_file_or_another_schema_fails(lance: Path, tmp_path: Path) -> None:
    import lancedb
    import pyarrow as pa

    source = lance_at(lance, tables=["passages"])
    restored, recorded = captured(source, tmp_path)
    lancedb.connect(restored).create_table(
        "notes", pa.table({"n": ["1", "2", "3"], "t": ["a", None, "c"]}), mode="overwrite"
    )
    assert verdicts(source, restored, recorded)["settings"] is Verdict.FAILED
    next((restored / "passages.lance" / "data").iterdir()).unlink()
    assert verdicts(source, restored, recorded)["tables"] is Verdict.FAILED


def test_tables_are_loaded_into_a_new_directory_only(lance: Path, tmp_path: Path) -> None:
    source = lance_at(lance)
    restored, recorded = captured(source, tmp_path)
    assert source.load(restored, str(tmp_path / "new")) == recorded.collections
    for refused in (tmp_path / "new", lance, lance / "inner"):
        with pytest.raises(RefusedError):
            source.load(restored, str(refused))


def test_missing_and_empty_databases_are_never_green(lance: Path, tmp_path: Path) -> None:
    assert grave(lance_at(lance, tables=["users"]).observe()) == {("table-missing", "failed")}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert grave(lance_at(empty).observe()) == {("no-tables", "unproven")}
