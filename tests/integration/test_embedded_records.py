"""Records of SQLite and LanceDB on their engines: odd content, other stores' points, bad input."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError
from llmvault.core.verdict import Verdict
from llmvault.policy.sources import SqliteSource
from llmvault.sources.interface import (
    ExportsRecords,
    ImportsRecords,
    Observation,
    Point,
    RecordSet,
    VectorField,
)
from llmvault.sources.records.export import export
from llmvault.sources.records.load import compare_with_capture, import_capture
from llmvault.sources.records.reading import read_capture
from llmvault.sources.registry import build_importer, build_source
from tests.contract.source import local_ports
from tests.fakes.record_store import RecordStore, numbered, packed

pytestmark = pytest.mark.integration


DISTANCES = {"sqlite": ("l2", "cosine", "l1"), "lancedb": ("l2", "cosine", "ip")}


def foreign(distances: tuple[str, ...]) -> RecordStore:
    """Return a store of another kind, with every shape of collection."""
    store = RecordStore()
    for distance in distances:
        store.define(distance)
        store.sets[distance] = RecordSet(
            distance, "fake", vectors=(VectorField("", 4, distance, {"kind": "hnsw", "m": 16}),)
        )
        store.put(distance, *(numbered(number, person="x") for number in range(300)))
    store.define("plain notes / é")
    store.sets["plain notes / é"] = RecordSet("plain notes / é", "fake")
    odd = {"bytes": b"\xff\x00", "nan": float("nan"), "deep": [{"a": None}], "text": "\udcff"}
    store.put("plain notes / é", Point("a'b", {}, odd, "a document", {"uri": "u"}))
    store.define("two")
    fields = (VectorField("title vec", 2), VectorField("id", 3, "cosine"))
    store.sets["two"] = RecordSet("two", "fake", vectors=fields)
    vectors = {"title vec": packed(1, 2), "id": packed(3, 4, 5)}
    store.put("two", *(Point(f"k{n}", vectors, {"n": n}) for n in range(3)))
    return store


def captured(store: RecordStore, root: Path) -> Observation:
    root.mkdir()
    exported = export(store, root, kind="fake", sample=16)
    return Observation(collections=exported.collections)


def importer(kind: str) -> ImportsRecords:
    return build_importer(kind, local_ports())


@pytest.mark.parametrize("kind", ["sqlite", "lancedb"])
def test_points_of_another_kind_are_all_kept(tmp_path: Path, kind: str) -> None:
    recorded = captured(foreign(DISTANCES[kind]), tmp_path / "capture")
    collections = read_capture(tmp_path / "capture")
    with importer(kind).target(str(tmp_path / "new" / "store.db")) as target:
        imported = import_capture(target, collections)
        assert imported.left_out == {}
        checks = compare_with_capture("s", target, imported, collections, recorded)
        assert {check.verdict for check in checks} == {Verdict.PROVEN}, checks
        wanted = struct.unpack("<4f", numbered(7).vectors[""])
        assert target.search("l2", wanted, 1) == ("p000007",)
        assert set(target.search("two.title vec", (1.0, 2.0), 3)) == {"k0", "k1", "k2"}
    assert (tmp_path / "new" / "store.db").stat().st_size


@pytest.mark.parametrize("kind", ["sqlite", "lancedb"])
def test_a_second_use_of_a_target_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "store.db"
    place.write_bytes(b"somebody's")
    with (
        pytest.raises(RefusedError, match=r"there is a file|not an empty directory"),
        importer(kind).target(str(place)),
    ):
        pass
    assert place.read_bytes() == b"somebody's"


@pytest.mark.parametrize(("kind", "distance"), [("sqlite", "ip"), ("lancedb", "l1")])
def test_vectors_that_it_cannot_hold_are_left_out(tmp_path: Path, kind: str, distance: str) -> None:
    store = RecordStore()
    store.define("inner")
    store.sets["inner"] = RecordSet("inner", "fake", vectors=(VectorField("", 4, distance),))
    store.put("inner", numbered(1))
    store.define("ragged", None)
    store.put("ragged", numbered(1), numbered(2, size=3))
    captured(store, tmp_path / "capture")
    with importer(kind).target(str(tmp_path / "store.db")) as target:
        imported = import_capture(target, read_capture(tmp_path / "capture"))
    assert set(imported.left_out) == {"inner", "ragged"}
    assert distance in imported.left_out["inner"]


def test_a_point_without_its_vector_leaves_nothing(tmp_path: Path) -> None:
    store = RecordStore()
    store.define("some")
    store.put("some", numbered(1), Point("none", {}, {}))
    captured(store, tmp_path / "capture")
    with (
        pytest.raises(IntegrityError, match="'none': it has no vector"),
        importer("sqlite").target(str(tmp_path / "new" / "store.db")) as target,
    ):
        import_capture(target, read_capture(tmp_path / "capture"))
    assert list((tmp_path / "new").iterdir()) == []


@contextmanager
def database(path: Path) -> Iterator[object]:
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    yield connection
    connection.close()


def test_odd_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    with database(path) as made:
        for statement in (
            "CREATE TABLE pairs (a TEXT, b, v, PRIMARY KEY (a, b)) WITHOUT ROWID",
            "INSERT INTO pairs VALUES ('a,', 'b', 1), ('a', ',b', 2), ('a', x'2c62', 3.0)",
            "CREATE TABLE loose (v, w)",
            "INSERT INTO loose (rowid, v, w) VALUES (7, 1, NULL), (9, 9e999, x'00ff')",
            "INSERT INTO loose VALUES (CAST(x'ff41' AS TEXT), 9223372036854775807)",
            "CREATE TABLE made (n INTEGER PRIMARY KEY, twice INT AS (n * 2), t TEXT DEFAULT 'x')",
            "CREATE INDEX made_by_t ON made (t)",
            "INSERT INTO made (n, t) VALUES (1, 'one'), (2, printf('%.*c', 17000000, 'y'))",
            "CREATE VIRTUAL TABLE small USING vec0(embedding int8[4], flags bit[8], +note TEXT)",
            "INSERT INTO small (embedding, flags, note) "
            "VALUES (vec_int8(x'01ff7f80'), vec_bit(x'a5'), 'n')",
            'CREATE TABLE "odd "" name" (id TEXT PRIMARY KEY)',
            'INSERT INTO "odd "" name" VALUES (\'é\')',
        ):
            made.execute(statement)  # type: ignore[attr-defined]
    config = SqliteSource(kind="sqlite", path=path, capture="records")
    source = build_source("odd", config, local_ports())
    assert isinstance(source, ExportsRecords)
    assert isinstance(source, ImportsRecords)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "capture").mkdir()
    with source.reading_records(tmp_path / "scratch") as view:
        export(view, tmp_path / "capture", kind="sqlite", sample=4)
        before = {one.name: list(view.points(one.name)) for one in view.record_sets()}
    collections = read_capture(tmp_path / "capture")
    with source.private_target(tmp_path / "scratch") as target:
        assert not import_capture(target, collections).left_out
        after = {one.name: list(target.points(one.name)) for one in target.record_sets()}
    assert repr(after) == repr(before)
    assert {point.payload["v"] for point in before["pairs"]} == {1, 2, 3.0}
    assert set(before) == {"pairs", "loose", "made", "small", 'odd " name'}
    assert not list((tmp_path / "scratch").iterdir())
