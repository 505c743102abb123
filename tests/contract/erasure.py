"""What every driver must do that erases points and looks for their residue; on a live store.

A subclass supplies ``erasable``: a fresh store of ``tests/fakes/erasable.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.interface import (
    Doomed,
    Erased,
    Erases,
    ExportsRecords,
    Point,
    ProbeReport,
    ProbesResidue,
    Sought,
    Source,
)
from tests.fakes import erasable as fill

ABSENT = Sought(texts=("a text that was never anywhere",), vectors=(fill.packed(9_999),))


@dataclass(frozen=True)
class Erasable:
    """A live store with the points of ``tests/fakes/erasable.py``.

    Attributes:
        source: its driver, whose policy names the field ``who``.
        nameless: the driver of the same store, whose policy names no field for people.
        delete: deletes a person's points as users of the store do.
        place: the directory in which the store lies, nothing of which may be left but the store.
        collections: those that have points of that person.
        forgets: whether the store can delete a point at all.
    """

    source: Source
    nameless: Source
    delete: Callable[[], None]
    place: Path | None = None
    collections: frozenset[str] = frozenset({"points"})
    forgets: bool = True


class ErasesContract:
    """The suite."""

    @pytest.fixture
    def erasable(self) -> Erasable:
        """Return a fresh live store."""
        raise NotImplementedError

    def test_what_is_erased_is_found_before_and_nowhere_after(
        self, erasable: Erasable, tmp_path: Path
    ) -> None:
        work = _Work(erasable, tmp_path)
        before = work.probe(work.sought("gone"))
        assert before.judged()[0] is Verdict.FAILED
        assert {one.layer for one in before.found} == {"answers", "files"}
        kept, beside = work.kept(), work.beside()
        erased = work.erase(
            Doomed("points", ids=work.ids("gone")), Doomed(subjects=frozenset({"gone"}))
        )
        assert erased.deleted == dict.fromkeys(erasable.collections, 20)
        assert erased.steps
        assert not erased.pending
        after = work.probe(work.sought("gone"))
        assert after.judged()[0] is Verdict.PROVEN, after.judged()[1]
        assert work.kept(again=True) == kept
        assert work.beside() == beside

    def test_what_a_deletion_leaves_behind_is_found_and_erased(
        self, erasable: Erasable, tmp_path: Path
    ) -> None:
        work = _Work(erasable, tmp_path)
        absent = work.probe(ABSENT)
        assert absent.judged()[0] is Verdict.PROVEN, absent.judged()[1]
        erasable.delete()
        left = work.probe(work.sought("gone"))
        assert left.judged()[0] is Verdict.FAILED, left.judged()[1]
        assert ("answers" in {one.layer for one in left.found}) is not erasable.forgets
        assert "files" in {one.layer for one in left.found}
        doomed = (Doomed("points", work.ids("gone")), Doomed(subjects=frozenset({"gone"})))
        assert not work.erase(*doomed).deleted or not erasable.forgets
        after = work.probe(work.sought("gone"))
        assert after.judged()[0] is Verdict.PROVEN, after.judged()[1]

    def test_a_wrong_order_changes_nothing(self, erasable: Erasable, tmp_path: Path) -> None:
        work = _Work(erasable, tmp_path)
        with pytest.raises(UnavailableError, match="no such") as raised:
            work.erase(Doomed("nowhere", ids=frozenset({"1"})))
        assert raised.value.thing
        with pytest.raises(PolicyError, match="does not say which field") as wrong:
            work.erase(Doomed(subjects=frozenset({"gone"})), source=erasable.nameless)
        assert "gone" not in str(wrong.value)
        assert work.kept(again=True) == work.kept()


class _Work:
    """What the suite asks of a store."""

    def __init__(self, example: Erasable, tmp_path: Path) -> None:
        self._example = example
        self._tmp_path = tmp_path
        self._number = 0
        self._points = self._read()

    def _scratch(self) -> Path:
        self._number += 1
        scratch = self._tmp_path / f"scratch-{self._number}"
        scratch.mkdir()
        return scratch

    def _read(self) -> dict[str, list[Point]]:
        assert isinstance(self._example.source, ExportsRecords)
        with self._example.source.reading_records(self._scratch()) as view:
            return {one.name: list(view.points(one.name)) for one in view.record_sets()}

    def sought(self, who: str) -> Sought:
        points = [point for some in self._points.values() for point in some if _is(point, who)]
        vectors = [vector for point in points for vector in point.vectors.values()]
        return Sought(tuple(fill.text(index) for index in fill.ids_of(who)), tuple(vectors))

    def ids(self, who: str) -> frozenset[str]:
        return frozenset(point.id for point in self._points["points"] if _is(point, who))

    def kept(self, *, again: bool = False) -> dict[str, list[Point]]:
        return {
            name: sorted((p for p in points if not _is(p, "gone")), key=lambda p: p.id)
            for name, points in (self._read() if again else self._points).items()
        }

    def beside(self) -> list[str]:
        place = self._example.place
        return sorted(path.name for path in place.iterdir()) if place else []

    def probe(self, wanted: Sought) -> ProbeReport:
        assert isinstance(self._example.source, ProbesResidue)
        return self._example.source.probe(wanted, self.sought("kept"), self._scratch())

    def erase(self, *doomed: Doomed, source: Source | None = None) -> Erased:
        erases = source or self._example.source
        assert isinstance(erases, Erases)
        return erases.erase(doomed, self._scratch())


def _is(point: Point, who: str) -> bool:
    return point.payload.get("who") == who
