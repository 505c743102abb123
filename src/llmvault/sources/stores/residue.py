"""Where planted values still lie: in what a store answers, and in the bytes of its files.

Engines delete by marking, keep logs, and recycle pages; what one says of its deletions proves
nothing. A file is searched for each value in every form that a store is known to write it in. A
compressed file shows nothing either way, which is what control values are for: where they, which
are still there, cannot be seen, the absence of others is unproven.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmvault.sources.interface import Point, ProbeReport, RecordsView, Sought, Trace

_CHUNK = 8 << 20
_SHORTEST_TEXT = 6
_SHORTEST_VECTOR = 16
_LONGEST_PIECE = 64
_MARK = 4


class ResidueSearch:
    """Looks for values in points and files, and keeps where they were seen.

    Args:
        wanted: values that should be gone.
        control: values that are still there.
    """

    def __init__(self, wanted: Sought, control: Sought) -> None:
        self._wanted = wanted
        self._control = control
        self._needles = _Needles(wanted, control)
        self._found: list[Trace] = []
        self._seen: list[Trace] = []
        self._unread: list[str] = []
        if short := _too_short(wanted):
            self._unread.append(short)

    def points(self, view: RecordsView) -> None:
        """Look through every point that a store gives."""
        for records in view.record_sets():
            self.given(f"points of {records.name}", view.points(records.name), layer="answers")

    def given(self, where: str, points: Iterable[Point], *, layer: str) -> None:
        """Look through points, wherever they were read from."""
        wanted, control = _Tally(self._wanted), _Tally(self._control)
        for point in points:
            texts = list(_texts([point.id, dict(point.payload), point.document, point.native]))
            vectors = set(point.vectors.values())
            wanted.look(texts, vectors)
            control.look(texts, vectors)
        self._keep(layer, where, wanted, control)

    def tree(self, root: Path) -> None:
        """Look through the bytes of every file below a directory."""
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.file(path, path.relative_to(root).as_posix())

    def file(self, path: Path, name: str = "") -> None:
        """Look through the bytes of a file."""
        try:
            with path.open("rb") as stream:
                self.bytes(name or path.name, iter(lambda: stream.read(_CHUNK), b""))
        except FileNotFoundError:
            return  # gone meanwhile
        except OSError as error:
            self.unread(f"{name or path.name} cannot be read: {error.strerror}")

    def bytes(self, where: str, chunks: Iterator[bytes]) -> None:
        """Look through bytes that come in pieces."""
        hits: dict[str, set[tuple[str, int]]] = {"wanted": set(), "control": set()}
        tail = b""
        for chunk in chunks:
            data = tail + chunk
            for whose, value in self._needles.in_bytes(data):
                hits[whose].add(value)
            tail = data[-self._needles.overlap :]
        self._note("files", where, hits["wanted"], self._found)
        self._note("files", where, hits["control"], self._seen)

    def unread(self, why: str) -> None:
        """Take note of something that could not be looked at."""
        self._unread.append(why)

    def report(self) -> ProbeReport:
        """Return what was found."""
        return ProbeReport(
            wanted=self._wanted,
            control=self._control,
            found=tuple(self._found),
            seen=tuple(self._seen),
            unread=tuple(self._unread),
        )

    def _keep(self, layer: str, where: str, wanted: _Tally, control: _Tally) -> None:
        self._note(layer, where, wanted.hits, self._found)
        self._note(layer, where, control.hits, self._seen)

    def _note(self, layer: str, where: str, hits: set[tuple[str, int]], kept: list[Trace]) -> None:
        texts = frozenset(number for kind, number in hits if kind == "text")
        vectors = frozenset(number for kind, number in hits if kind == "vector")
        if texts or vectors:
            kept.append(Trace(layer, where, texts, vectors))


class _Tally:
    """Which values have been seen in points."""

    def __init__(self, sought: Sought) -> None:
        self._texts = sought.texts
        self._vectors = {vector: number for number, vector in enumerate(sought.vectors)}
        self.hits: set[tuple[str, int]] = set()

    def look(self, texts: Sequence[str], vectors: set[bytes]) -> None:
        for number, wanted in enumerate(self._texts):
            if ("text", number) not in self.hits and any(wanted in one for one in texts):
                self.hits.add(("text", number))
        for vector in vectors & self._vectors.keys():
            self.hits.add(("vector", self._vectors[vector]))


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  any value of a payload
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


class _Needles:
    """Every form in bytes in which values may lie in a file, found in one pass."""

    def __init__(self, wanted: Sought, control: Sought) -> None:
        self._by_mark: dict[bytes, list[tuple[int, bytes, str, tuple[str, int]]]] = {}
        longest = 1
        for whose, sought in (("wanted", wanted), ("control", control)):
            for needle, value in _needles(sought).items():
                at = _telling_place(needle)
                mark = needle[at : at + _MARK]
                self._by_mark.setdefault(mark, []).append((at, needle, whose, value))
                longest = max(longest, len(needle))
        self.overlap = longest

    def in_bytes(self, data: bytes) -> Iterator[tuple[str, tuple[str, int]]]:
        """Yield which values are in it: whose, and the value; some more than once."""
        if len(data) < _MARK or not self._by_mark or data.count(0) == len(data):
            return
        for place in self._places(data):
            for at, needle, whose, value in self._by_mark.get(data[place : place + _MARK], ()):
                if place >= at and data.startswith(needle, place - at):
                    yield whose, value

    def _places(self, data: bytes) -> list[int]:
        """Return where four bytes may be those that mark a needle."""
        import numpy as np

        firsts, seconds = np.zeros(1 << 16, bool), np.zeros(1 << 16, bool)
        for mark in self._by_mark:
            firsts[int.from_bytes(mark[:2], "big")] = True
            seconds[int.from_bytes(mark[2:], "big")] = True
        given = np.frombuffer(data, np.uint8)
        pairs = given[:-1].astype(np.uint16) << 8 | given[1:]
        found = np.flatnonzero(firsts[pairs[:-2]] & seconds[pairs[2:]])
        return [int(place) for place in found]


def _telling_place(needle: bytes) -> int:
    """Return where in a needle the four bytes are that files have least often by chance."""
    places = range(len(needle) - _MARK + 1)
    return max(places, key=lambda at: (len(set(needle[at : at + _MARK]) - {0}), at))


def _needles(sought: Sought) -> dict[bytes, tuple[str, int]]:
    """Return every form in bytes that a value may lie in a file in -> the value."""
    found: dict[bytes, tuple[str, int]] = {}
    for number, text in enumerate(sought.texts):
        for form in _forms_of_text(text):
            if len(form) >= _SHORTEST_TEXT:
                found[form] = ("text", number)
    for number, vector in enumerate(sought.vectors):
        for form in _forms_of_vector(vector):
            found |= dict.fromkeys(_pieces(form), ("vector", number))
    return found


def _forms_of_text(text: str) -> tuple[bytes, ...]:
    escaped = json.dumps(text)[1:-1]
    forms = (text.encode("utf-8", "surrogatepass"), escaped.encode("ascii"))
    return (*forms, *(text.encode(one, "surrogatepass") for one in ("utf-16-le", "utf-16-be")))


def _forms_of_vector(vector: bytes) -> tuple[bytes, ...]:
    """Return a vector as float32, float64 and CBOR floats; as given, and of length 1."""
    count = len(vector) // 4
    values = struct.unpack(f"<{count}f", vector)
    length = sum(one * one for one in values) ** 0.5
    forms: list[bytes] = []
    scaled = [one / length for one in values] if 0 < length < float("inf") else []
    for each in (list(values), scaled):
        if each:
            single = struct.pack(f">{count}f", *each)
            forms += [
                struct.pack(f"{order}{count}{size}", *each) for order in "<>" for size in "fd"
            ]
            forms.append(b"".join(b"\xfa" + single[at : at + 4] for at in range(0, 4 * count, 4)))
    return tuple(forms)


def _pieces(form: bytes) -> tuple[bytes, ...]:
    """Return what of a form is looked for: the pages of a file may cut it in two."""
    size = min(_LONGEST_PIECE, len(form) // 2)
    if len(form) < _SHORTEST_VECTOR:
        return ()
    if size < _SHORTEST_VECTOR:
        return (form,)
    starts = (0, (len(form) - size) // 2, len(form) - size)
    pieces = [form[start : start + size] for start in starts]
    telling = [one for one in pieces if one.count(0) <= size // 2 and len(set(one)) > 8]
    return tuple(telling) or (form,)


def _too_short(sought: Sought) -> str:
    short = any(
        len(text.encode("utf-8", "surrogatepass")) < _SHORTEST_TEXT for text in sought.texts
    )
    few = any(len(vector) < _SHORTEST_VECTOR for vector in sought.vectors)
    if not short and not few:
        return ""
    return "a value is so short that finding it in a file would mean nothing"
