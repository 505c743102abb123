"""Records captures without a store: the format, what is written again, and damage."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Verdict, combine
from llmvault.sources.interface import Observation, Point, RecordSet, VectorField
from llmvault.sources.records import export as exporting
from llmvault.sources.records.checks import check_capture
from llmvault.sources.records.export import Exported, export
from llmvault.sources.records.reading import CapturedCollection, read_capture
from llmvault.sources.records.rows import decode_row, encode_point, from_json, to_json
from llmvault.sources.records.segments import read_rows, write_segment
from tests.contract.records import file_digests
from tests.fakes.record_store import RecordStore, numbered, packed

VECTORS = Path(__file__).parents[3] / "vectors" / "records"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def run(store: RecordStore, root: Path, *, subject_field: str = "") -> Exported:
    root.mkdir(exist_ok=True)
    return export(store, root, kind="fake", sample=3, subject_field=subject_field)


def contents(root: Path) -> dict[str, dict[str, Point]]:
    return {one.name: {point.id: point for point in one.points()} for one in read_capture(root)}


def the_only(root: Path) -> CapturedCollection:
    (collection,) = read_capture(root)
    return collection


@pytest.fixture
def store() -> RecordStore:
    made = RecordStore()
    made.define("docs")
    made.put("docs", *(numbered(number) for number in range(100)))
    return made


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_SEGMENT_BYTES", 500)
    monkeypatch.setattr(exporting, "_CUT", 4)


@given(json_values)
def test_every_value_comes_back(value: object) -> None:
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


def test_odd_values_come_back() -> None:
    odd = {"nan": math.nan, "inf": -math.inf, "broken": "\ud800", "mark": {"$bytes": "x"}}
    back = from_json(to_json(odd))
    assert math.isnan(back.pop("nan"))
    assert back == {key: value for key, value in odd.items() if key != "nan"}


@settings(max_examples=30)
@given(st.lists(st.none() | st.binary(min_size=8, max_size=8), min_size=1, max_size=20))
def test_vectors_come_back_bit_for_bit(vectors: list[bytes | None]) -> None:
    import tempfile

    for dimension in (2, None):
        fields = (VectorField("", dimension),)
        records = RecordSet("x", "fake", vectors=fields)
        points = [
            Point(str(number), {} if vector is None else {"": vector})
            for number, vector in enumerate(vectors)
        ]
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "000000.parquet"
            write_segment(path, [encode_point(one, records, "") for one in points], fields)
            assert [decode_row(row, fields) for row in read_rows(path, fields)] == points


def test_everything_is_read_back(store: RecordStore, tmp_path: Path) -> None:
    store.define("an / odd name", None)
    store.put("an / odd name", Point("é\u2028", {"": packed(1.0)}, {"b": b"\xff"}, "doc", {"u": 1}))
    store.put("an / odd name", Point("bare"))
    exported = run(store, tmp_path / "root")
    assert contents(tmp_path / "root") == store.held
    assert exported.findings == ()
    assert [facts.count for facts in exported.collections] == [2, 100]


def test_an_unchanged_store_changes_no_file(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    run(store, tmp_path / "root")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*.*")}
    assert run(store, tmp_path / "root").written == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*.*")} == before


def test_changed_points_alone_are_written(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    root = tmp_path / "root"
    run(store, root)
    before = file_digests(root)
    for number in (3, 50, 97):
        store.put("docs", numbered(number, text="changed"))
    store.put("docs", numbered(1000))
    assert run(store, root).written == 4
    after = file_digests(root)
    kept = {name for name in before if name.endswith(".parquet")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert contents(root) == store.held
    assert the_only(root).described.count == 101
    assert sum(one.superseded for one in the_only(root).described.segments) == 3


def test_a_deleted_point_is_in_no_file(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    root = tmp_path / "root"
    store.put("docs", numbered(7, text="a marker to look for"))
    run(store, root)
    store.put("docs", numbered(7, text="a marker to look for, again"))
    run(store, root)
    del store.held["docs"]["p000007"]
    run(store, root)
    assert contents(root) == store.held
    for path in root.rglob("*.*"):
        assert b"a marker" not in path.read_bytes()


def test_a_point_about_another_person_leaves_no_trace_of_the_first(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    root = tmp_path / "root"
    store.put("docs", numbered(7, person="first person"))
    run(store, root, subject_field="person")
    store.put("docs", numbered(7, person="second person"))
    run(store, root, subject_field="person")
    assert contents(root) == store.held
    assert not [path for path in root.rglob("*.*") if b"first person" in path.read_bytes()]


def test_when_much_is_replaced_all_is_written_afresh(store: RecordStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    run(store, root)
    for number in range(40):
        store.put("docs", numbered(number, text="changed"))
    run(store, root)
    run(store, root)
    assert sum(one.superseded for one in the_only(root).described.segments) == 0
    run(store, tmp_path / "fresh")
    assert file_digests(root) == file_digests(tmp_path / "fresh")


def test_without_kept_files_an_insert_changes_few_segments(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    run(store, tmp_path / "one")
    store.put("docs", Point("p000050x", {"": packed(1, 2, 3, 4)}))
    run(store, tmp_path / "two")
    one = set(file_digests(tmp_path / "one").values())
    two = set(file_digests(tmp_path / "two").values())
    assert len(one) > 8
    assert len(two - one) <= 3  # the segment, perhaps one beside it, and collection.json


def test_a_run_that_died_leaves_nothing_behind(
    store: RecordStore, tmp_path: Path, small_segments: None
) -> None:
    root = tmp_path / "root"
    run(store, root)
    before = file_digests(root)
    store.put("docs", *(numbered(number) for number in range(200, 300)))
    store.held["docs"]["p999999"] = Point("p999999", {"": packed(1.0)})
    with pytest.raises(IntegrityError, match="has 1 values, the collection 4"):
        run(store, root)
    assert file_digests(root) == before
    (root / "docs" / "000099.parquet").write_bytes(b"left by a run that was killed")
    del store.held["docs"]["p999999"]
    run(store, root)
    assert contents(root) == store.held
    assert {path.name for path in (root / "docs").glob("*.parquet")} == {
        one.file for one in the_only(root).described.segments
    }


class _Leaving(RecordStore):
    """Goes away after so many points."""

    limit = 1_000_000

    def points(self, name: str) -> Iterator[Point]:
        for place, point in enumerate(super().points(name)):
            if place == self.limit:
                raise UnavailableError("the store", "the connection was closed")
            yield point


def test_a_store_that_goes_away_leaves_nothing_behind(tmp_path: Path, small_segments: None) -> None:
    store = _Leaving()
    store.define("docs")
    store.put("docs", *(numbered(number) for number in range(100)))
    run(store, tmp_path / "root")
    before = file_digests(tmp_path / "root")
    store.put("docs", *(numbered(number, text="changed") for number in range(80)))
    store.limit = 70
    with pytest.raises(UnavailableError, match="was closed"):
        run(store, tmp_path / "root")
    assert file_digests(tmp_path / "root") == before
    with pytest.raises(UnavailableError):
        run(store, tmp_path / "fresh")
    assert file_digests(tmp_path / "fresh") == {}


def test_a_collection_that_is_gone_is_gone(store: RecordStore, tmp_path: Path) -> None:
    store.define("other")
    run(store, tmp_path / "root")
    del store.sets["other"]
    run(store, tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").iterdir() if path.is_dir()] == ["docs"]


def test_a_changed_dimension_begins_afresh(store: RecordStore, tmp_path: Path) -> None:
    run(store, tmp_path / "root")
    store.define("docs", 2)
    store.put("docs", numbered(1, size=2))
    run(store, tmp_path / "root")
    assert contents(tmp_path / "root") == store.held


class _Busy(RecordStore):
    """Changes a point before each of so many readings."""

    def __init__(self, changes: int) -> None:
        super().__init__(at_one_moment=False)
        self.changes = changes

    def points(self, name: str) -> Iterator[Point]:
        if self.changes:
            self.changes -= 1
            self.put(name, numbered(1, text=f"change {self.changes}"))
        return super().points(name)


@pytest.mark.parametrize(("changes", "told"), [(2, []), (100, ["changed-during-export"])])
def test_a_store_without_snapshots_is_read_until_it_rests(
    changes: int, told: list[str], tmp_path: Path
) -> None:
    store = _Busy(changes)
    store.define("docs")
    store.put("docs", *(numbered(number) for number in range(10)))
    exported = run(store, tmp_path / "root")
    assert [found.name for found in exported.findings] == told
    assert contents(tmp_path / "root") == store.held


def test_vectors_that_no_search_finds_are_a_failure(store: RecordStore, tmp_path: Path) -> None:
    odd = struct.pack("<4I", 0x7FC00001, 0, 0, 0)
    store.put("docs", Point("odd", {"": odd}))
    exported = run(store, tmp_path / "root")
    (finding,) = exported.findings
    assert (finding.name, finding.severity) == ("vectors-not-finite", "failed")
    assert "'odd'" in finding.detail
    assert contents(tmp_path / "root")["docs"]["odd"].vectors == {"": odd}


def test_an_empty_store_is_unproven(tmp_path: Path) -> None:
    store = RecordStore()
    store.define("docs")
    exported = run(store, tmp_path / "root")
    assert [(one.name, one.severity) for one in exported.findings] == [("no-records", "unproven")]
    recorded = Observation(collections=exported.collections)
    checks = check_capture("s", tmp_path / "root", recorded)
    assert combine(check.verdict for check in checks) is Verdict.UNPROVEN


def test_a_store_that_gives_less_than_it_says_is_a_failure(
    store: RecordStore, tmp_path: Path
) -> None:
    store.stated["docs"] = 101
    (finding,) = run(store, tmp_path / "root").findings
    assert (finding.name, finding.severity) == ("count-differs", "failed")


def test_large_payloads_are_kept(tmp_path: Path) -> None:
    store = RecordStore()
    store.define("docs")
    large = {"text": "x" * (16 << 20), "bytes": b"\xff" * 1000}
    store.put("docs", Point("large", {"": packed(1, 2, 3, 4)}, large), numbered(1))
    run(store, tmp_path / "root")
    assert contents(tmp_path / "root") == store.held


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a segment is cut off": ("000000.parquet", lambda data: data[:-20]),
    "a segment is empty": ("000000.parquet", lambda data: b""),
    "a count is wrong": (
        "collection.json",
        lambda data: data.replace(b'"rows":100', b'"rows":99'),
    ),
    "another version": (
        "collection.json",
        lambda data: data.replace(b"records/1", b"records/2"),
    ),
    "not JSON": ("collection.json", lambda data: data[:-5]),
    "a name that leads elsewhere": (
        "collection.json",
        lambda data: data.replace(b"000000.parquet", b"../../x.parquet"),
    ),
    "another dimension": (
        "collection.json",
        lambda data: data.replace(b'"dimension":4', b'"dimension":5'),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str, store: RecordStore, tmp_path: Path) -> None:
    exported = run(store, tmp_path / "root")
    file, change = DAMAGE[name]
    path = tmp_path / "root" / "docs" / file
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    recorded = Observation(collections=exported.collections)
    checks = check_capture("s", tmp_path / "root", recorded)
    assert combine(check.verdict for check in checks) is Verdict.FAILED


def test_a_damaged_kept_file_is_written_afresh(store: RecordStore, tmp_path: Path) -> None:
    run(store, tmp_path / "root")
    (tmp_path / "root" / "docs" / "000000.parquet").unlink()
    run(store, tmp_path / "root")
    assert contents(tmp_path / "root") == store.held


def test_the_test_vectors_are_read_as_documented() -> None:
    expected = json.loads((VECTORS / "expected.json").read_bytes())
    (collection,) = read_capture(VECTORS / "capture")
    found = {
        row.id: {
            "digest": row.digest().hex(),
            "subject": row.subject,
            "document": row.document,
            "payload": json.loads(row.payload),
            "vector": None if row.vectors[0] is None else row.vectors[0].hex(),
        }
        for row in collection.rows()
    }
    assert found == expected
