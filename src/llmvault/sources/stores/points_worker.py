"""Answers, in the process of an engine, to what is asked of the store's points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Protocol

from llmvault.sources.interface import Point, RecordsTarget
from llmvault.sources.stores.wire import (
    point_from_wire,
    point_to_wire,
    set_from_wire,
    set_to_wire,
)

_POINTS_A_PAGE = 500


class HasPoints(Protocol):
    """A store that is open in this process and can be read point by point."""

    def as_points(self) -> RecordsTarget:
        """Return its points; the same object each time."""


def point_questions() -> Mapping[str, Callable[..., object]]:
    """Return the questions of :class:`llmvault.sources.stores.points.ServedPoints`, by name."""
    readings: dict[int, Iterator[Point]] = {}
    numbers = count()

    def read(store: HasPoints, *, name: str) -> int:
        readings.clear()  # one at a time: who asks for another has left the last
        number = next(numbers)
        readings[number] = iter(store.as_points().points(name))
        return number

    def following(store: HasPoints, *, reading: int, bytes: int) -> list[Any]:
        page: list[Any] = []
        size = 0
        for point in readings[reading]:
            page.append(point_to_wire(point))
            size += _size(point)
            if len(page) >= _POINTS_A_PAGE or size >= bytes:
                break
        return page

    return {
        "read": read,
        "next": following,
        "record_sets": lambda store: [set_to_wire(one) for one in _of(store).record_sets()],
        "count": lambda store, name: _of(store).count(name),
        "fetch": lambda store, name, ids: [
            point_to_wire(point) for point in _of(store).fetch(name, ids)
        ],
        "nearest": lambda store, collection, vector, k: _of(store).search(
            collection, tuple(vector), k
        ),
        "create": lambda store, wanted: _of(store).create(set_from_wire(wanted)),
        "add": lambda store, name, points: _of(store).add(name, map(point_from_wire, points)),
        "kept_form": lambda store, name, point: point_to_wire(
            _of(store).kept_form(name, point_from_wire(point))
        ),
        "finish": lambda store, name: _of(store).finish(name),
    }


def _of(store: HasPoints) -> RecordsTarget:
    return store.as_points()


def _size(point: Point) -> int:
    texts = sum(len(one) for one in point.payload.values() if isinstance(one, str | bytes))
    return sum(map(len, point.vectors.values())) + len(point.document or "") + texts
