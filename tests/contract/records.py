"""What every store must do that gives and takes points; binds beside ``SourceContract``.

A subclass supplies ``example``: a source whose policy says ``capture: records``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import ExportsRecords, ImportsRecords, Point, RecordsTarget
from llmvault.sources.records.capture import RecordsCapture
from llmvault.sources.records.layout import ROOT_FILE
from llmvault.sources.records.load import Imported, compare_with_capture, import_capture
from llmvault.sources.records.reading import CapturedCollection, read_capture
from llmvault.sources.records.rows import encode_point
from tests.contract.source import SourceExample, capture_into, captured_once

RECORDS = frozenset({ROOT_FILE})


def flip_a_vector(collection: Path) -> None:
    """Change one bit of a vector in a collection's first segment."""
    path = min(collection.glob("*.parquet"))
    described = next(one for one in read_capture(collection.parent) if one.directory == collection)
    vector = next(next(iter(row.vectors)) for row in described.rows())
    assert vector is not None
    content = path.read_bytes()
    place = content.index(vector)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def file_digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a directory."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def failed(checks: tuple[Check, ...]) -> list[Check]:
    """Return the checks that are not proven."""
    return [check for check in checks if check.verdict is not Verdict.PROVEN]


class RecordsContract:
    """The suite."""

    def test_it_gives_and_takes_points(self, example: SourceExample) -> None:
        assert isinstance(example.source, RecordsCapture)
        assert isinstance(example.source, ExportsRecords)
        assert isinstance(example.source, ImportsRecords)

    def test_every_point_is_given_once_and_the_same_each_time(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        assert isinstance(example.source, ExportsRecords)
        (tmp_path / "scratch").mkdir()
        with example.source.reading_records(tmp_path / "scratch") as view:
            for records in view.record_sets():
                points = list(view.points(records.name))
                assert len({point.id for point in points}) == len(points)
                assert len(points) == view.count(records.name)
                for point in points:
                    encode_point(point, records, "")
                again = list(view.points(records.name))
                assert [point.id for point in again] == [point.id for point in points]
                assert again == points

    def test_points_are_fetched_by_their_ids(self, example: SourceExample, tmp_path: Path) -> None:
        assert isinstance(example.source, ExportsRecords)
        (tmp_path / "scratch").mkdir()
        with example.source.reading_records(tmp_path / "scratch") as view:
            for records in view.record_sets():
                points = {point.id: point for point in view.points(records.name)}
                wanted = sorted(points)[:3]
                found = {p.id: p for p in view.fetch(records.name, (*wanted, "not there \u00e9"))}
                assert found == {key: points[key] for key in wanted}

    def test_an_unchanged_store_gives_the_same_bytes(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        for name in ("one", "two"):
            (tmp_path / f"at-{name}").mkdir()
            capture_into(example.source, tmp_path / name, tmp_path / f"at-{name}")
        assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")

    def test_a_store_made_of_a_capture_holds_every_point(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        recorded, _ = captured_once(self, example, tmp_path / "restored", tmp_path)
        collections = read_capture(tmp_path / "restored")
        assert isinstance(example.source, ImportsRecords)
        (tmp_path / "private").mkdir()
        with example.source.private_target(tmp_path / "private") as target:
            imported = import_capture(target, collections)
            assert not imported.left_out
            checks = compare_with_capture(
                example.source.name, target, imported, collections, recorded
            )
            assert not failed(checks)
            for collection in collections:
                assert_same_points(target, imported, collection)
        assert not list((tmp_path / "private").iterdir())


def assert_same_points(
    target: RecordsTarget, imported: Imported, collection: CapturedCollection
) -> None:
    """Assert that a target holds every point of a captured collection, in its own form."""
    name = imported.names[collection.name]
    exact = {one.name: one.exact for one in target.record_sets()}[name]
    found = {point.id: point for point in target.points(name)}
    wanted = {point.id: target.kept_form(name, point) for point in collection.points()}
    assert found.keys() == wanted.keys()
    for key, point in wanted.items():
        assert plain(found[key], exact=exact) == plain(point, exact=exact)


def plain(point: Point, *, exact: bool) -> Point:
    """Return a point without its vectors where a store does not keep them exactly."""
    vectors = point.vectors if exact else {}
    return Point(point.id, dict(vectors), dict(point.payload), point.document, dict(point.native))
