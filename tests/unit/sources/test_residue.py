"""Values are seen in points and in files, in every form that stores write them in."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.verdict import Verdict
from llmvault.sources.interface import Point, ProbeReport, RecordSet, Sought
from llmvault.sources.stores.residue import ResidueSearch

WANTED_VALUES = (0.1, -0.25, 3.5, 7.125, 1e-3, 2.0, -8.5, 0.75)
KEPT_VALUES = tuple(-value / 3 for value in WANTED_VALUES)


def vector(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


WANTED = Sought(("the text of Anna Müller",), (vector(WANTED_VALUES),))
KEPT = Sought(("the text of someone else",), (vector(KEPT_VALUES),))


class View:
    """A store that gives some points."""

    at_one_moment = True

    def __init__(self, *points: Point) -> None:
        self._points = points

    def record_sets(self) -> tuple[RecordSet, ...]:
        return (RecordSet("passages", "fake"),)

    def count(self, name: str) -> int:
        return len(self._points)

    def points(self, name: str) -> Iterator[Point]:
        return iter(self._points)

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        return iter(())

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        return ()


kept_point = Point("2", {"": KEPT.vectors[0]}, {"a": ["x", {"b": KEPT.texts[0]}]})


def in_file(content: bytes, wanted: Sought = WANTED) -> ProbeReport:
    search = ResidueSearch(wanted, KEPT)
    search.bytes("file", iter([content]))
    return search.report()


@pytest.mark.parametrize(
    "form",
    [
        WANTED.texts[0].encode(),
        WANTED.texts[0].encode("utf-16-le"),
        json.dumps(WANTED.texts[0]).encode(),
        WANTED.vectors[0],
        struct.pack(">8f", *WANTED_VALUES),
        struct.pack(">8d", *struct.unpack("<8f", WANTED.vectors[0])),
        b"".join(b"\xfa" + struct.pack(">f", value) for value in WANTED_VALUES),
    ],
)
def test_every_form_is_seen_in_a_file(form: bytes) -> None:
    report = in_file(b"\0" * 5000 + b"x" + form + b"\0" * 300)
    (trace,) = report.found
    assert (trace.layer, trace.where) == ("files", "file")
    assert bool(trace.texts) != bool(trace.vectors)
    assert report.judged()[0] is Verdict.FAILED


def test_a_vector_of_length_one_is_seen_too() -> None:
    length = sum(value * value for value in WANTED_VALUES) ** 0.5
    assert in_file(vector([value / length for value in WANTED_VALUES])).found


@given(st.integers(0, 200), st.integers(1, 64))
def test_a_value_is_seen_across_pieces(before: int, size: int) -> None:
    content = b"y" * before + WANTED.texts[0].encode() + b"z" * 10
    search = ResidueSearch(WANTED, KEPT)
    pieces = [content[place : place + size] for place in range(0, len(content), size)]
    search.bytes("file", iter(pieces))
    assert search.report().found


def test_half_of_a_vector_that_a_page_cut_is_seen() -> None:
    assert in_file(b"page 1" + WANTED.vectors[0][:17]).found
    assert not in_file(b"page 1" + WANTED.vectors[0][:15]).found


def test_gone_is_proven_only_beside_what_is_still_there(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(KEPT.texts[0].encode() + KEPT.vectors[0])
    search = ResidueSearch(WANTED, KEPT)
    search.points(View(kept_point))
    assert search.report().judged()[0] is Verdict.UNPROVEN  # no file was looked at
    search.tree(tmp_path)
    verdict, why = search.report().judged()
    assert verdict is Verdict.PROVEN, why


def test_a_compressed_file_proves_nothing() -> None:
    search = ResidueSearch(WANTED, KEPT)
    search.points(View(kept_point))
    search.bytes("file", iter([b"compressed"]))
    verdict, why = search.report().judged()
    assert verdict is Verdict.UNPROVEN
    assert "cannot be seen in its files" in why


def test_what_was_not_read_is_told() -> None:
    search = ResidueSearch(WANTED, KEPT)
    search.points(View(kept_point))
    search.bytes("file", iter([KEPT.texts[0].encode() + KEPT.vectors[0]]))
    search.unread("its log is on another host")
    assert search.report().judged() == (Verdict.UNPROVEN, "its log is on another host")


def test_a_value_that_files_hold_by_chance_is_unproven() -> None:
    report = in_file(KEPT.texts[0].encode(), Sought(texts=("Anna",)))
    assert "so short" in report.judged()[1]


def test_answers_are_told_from_files() -> None:
    search = ResidueSearch(WANTED, KEPT)
    search.points(View(Point("1", {"": WANTED.vectors[0]}, {"t": WANTED.texts[0]}), kept_point))
    (trace,) = search.report().found
    assert (trace.layer, trace.where) == ("answers", "points of passages")
    assert (trace.texts, trace.vectors) == (frozenset({0}), frozenset({0}))


def test_values_show_in_no_message() -> None:
    report = in_file(WANTED.texts[0].encode())
    assert "Anna" not in repr(report)
    assert "Anna" not in report.judged()[1]
