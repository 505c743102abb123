"""Making a store of a capture, and what is found when the store does not hold what it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError, UnprovenError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import Observation, Point, RecordSet
from llmvault.sources.records.export import export
from llmvault.sources.records.load import (
    collection_for,
    compare_with_capture,
    import_capture,
    refuse_other_schema,
)
from llmvault.sources.records.reading import CapturedCollection, read_capture
from tests.fakes.record_store import RecordStore, numbered, packed


class Target(RecordStore):
    """A fresh store in memory."""

    def create(self, wanted: RecordSet) -> str:
        """Make a collection."""
        if wanted.name in self.sets:
            raise RefusedError("the store", "it already has it")
        self.sets[wanted.name] = wanted
        self.held[wanted.name] = {}
        return wanted.name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Take points."""
        self.put(name, *points)

    def kept_form(self, name: str, point: Point) -> Point:
        """Keep everything."""
        return point

    def finish(self, name: str) -> None:
        """Build nothing."""


class Picky(Target):
    """Cannot hold one of the collections."""

    def create(self, wanted: RecordSet) -> str:
        """Refuse one collection."""
        if wanted.name == "odd":
            raise UnprovenError("collection odd", "it has no vector")
        return super().create(wanted)


@pytest.fixture
def captured(tmp_path: Path) -> tuple[tuple[CapturedCollection, ...], Observation]:
    store = RecordStore()
    for name in ("docs", "odd"):
        store.define(name)
        store.put(name, *(numbered(number) for number in range(50)))
    (tmp_path / "root").mkdir()
    exported = export(store, tmp_path / "root", kind="fake", sample=5)
    return read_capture(tmp_path / "root"), Observation(collections=exported.collections)


def compared(
    target: Target, captured: tuple[tuple[CapturedCollection, ...], Observation]
) -> dict[str, Check]:
    collections, recorded = captured
    imported = import_capture(target, collections)
    change(target)
    checks = compare_with_capture("s", target, imported, collections, recorded)
    return {check.name: check for check in checks}


def change(target: Target) -> None:
    """Do to a target what its class says; nothing to most."""
    getattr(target, "spoil", lambda: None)()


def test_a_faithful_store_is_proven(
    captured: tuple[tuple[CapturedCollection, ...], Observation],
) -> None:
    checks = compared(Target(), captured)
    assert {check.verdict for check in checks.values()} == {Verdict.PROVEN}
    assert "100 records in 2 collections" in checks["records"].detail
    assert "the vectors of 10 bit for bit" in checks["records"].detail


class LosesOne(Target):
    def spoil(self) -> None:
        del self.held["docs"]["p000040"]


class ChangesPayload(Target):
    def spoil(self) -> None:
        self.put("docs", numbered(2, text="another"))


class ChangesVector(Target):
    def spoil(self) -> None:
        point = self.held["docs"]["p000003"]
        self.put("docs", replace(point, vectors={"": packed(1, 2, 3, 4)}))


class ChangesIndex(Target):
    def spoil(self) -> None:
        (vector,) = self.sets["docs"].vectors
        changed = replace(vector, index={"kind": "hnsw"})
        self.sets["docs"] = replace(self.sets["docs"], vectors=(changed,))


class ChangesDimension(Target):
    def spoil(self) -> None:
        (vector,) = self.sets["docs"].vectors
        self.sets["docs"] = replace(self.sets["docs"], vectors=(replace(vector, dimension=5),))


@pytest.mark.parametrize(
    ("kind", "name", "detail"),
    [
        (LosesOne, "records", "docs: 49 records, captured 50"),
        (ChangesPayload, "records", "record 'p000002': its payload differs"),
        (ChangesVector, "records", "record 'p000003': its vector differs"),
        (ChangesIndex, "schema", "docs: kind is hnsw, captured flat"),
        (ChangesDimension, "schema", "docs: dimension 5, captured 4"),
    ],
)
def test_a_store_that_differs_fails(
    kind: type[Target],
    name: str,
    detail: str,
    captured: tuple[tuple[CapturedCollection, ...], Observation],
) -> None:
    check = compared(kind(), captured)[name]
    assert check.verdict is Verdict.FAILED
    assert detail in check.detail


def test_a_collection_that_a_store_cannot_hold_is_unproven(
    captured: tuple[tuple[CapturedCollection, ...], Observation],
) -> None:
    collections, recorded = captured
    target = Picky()
    imported = import_capture(target, collections)
    checks = compare_with_capture("s", target, imported, collections, recorded)
    assert [check.verdict for check in checks if "left out" in check.detail] == [Verdict.UNPROVEN]


def test_a_drill_refuses_a_store_that_is_defined_otherwise(
    captured: tuple[tuple[CapturedCollection, ...], Observation],
) -> None:
    collections, _ = captured
    target = ChangesIndex()
    imported = import_capture(target, collections)
    refuse_other_schema(target, imported, collections)
    target.spoil()
    with pytest.raises(IntegrityError, match="kind is hnsw"):
        refuse_other_schema(target, imported, collections)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("docs", "docs"), ("docs.vector", "docs"), ("docs.v2.x", "docs.v2"), ("other", None)],
)
def test_a_golden_finds_its_collection(wanted: str, found: str | None) -> None:
    assert collection_for(("docs", "docs.v2", "do"), wanted) == found
