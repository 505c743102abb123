"""What a collection's segments hold, by id and digest: 37 bytes of memory a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmvault.sources.records.layout import Segment
from llmvault.sources.records.rows import DIGEST_SIZE, Row, key_of
from llmvault.sources.records.segments import read_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT = f"S{DIGEST_SIZE}"


@dataclass(frozen=True, slots=True)
class Matched:
    """How rows of the store compare with the segments.

    Attributes:
        fresh: places of the rows that no segment holds as they are now.
        purged: keys whose older versions must not stay in any segment.
    """

    fresh: tuple[int, ...]
    purged: tuple[bytes, ...]


@dataclass(slots=True)
class Index:
    """Every row of some segments.

    Attributes:
        keys, digests, subjects: of each row, in the order of the segments.
        segment: place of each row's segment.
        order: places of the newest row of each key, sorted by key.
        seen: for each of `order`, whether the store has it.
    """

    keys: NDArray[Any]
    digests: NDArray[Any]
    subjects: NDArray[Any]
    segment: NDArray[np.int32]
    order: NDArray[np.int64]
    seen: NDArray[np.bool_]
    _sorted: NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._sorted = self.keys[self.order]

    @property
    def count(self) -> int:
        """How many different points there are."""
        return len(self.order)

    def match(self, rows: Sequence[Row]) -> Matched:
        """Compare rows of the store, and note that the store has them.

        The older version of a point that is now about another person is to be purged.
        """
        import numpy as np

        keys = np.array([key_of(row.id) for row in rows], _TEXT)
        digests = np.array([row.digest()[:DIGEST_SIZE] for row in rows], _TEXT)
        if not self.count:
            return Matched(tuple(range(len(rows))), ())
        places = np.minimum(np.searchsorted(self._sorted, keys), self.count - 1)
        known = self._sorted[places] == keys
        self.seen[places[known]] = True
        stored = self.order[places]
        same = known & (self.digests[stored] == digests)
        subjects = np.array([_subject_key(row.subject) for row in rows], _TEXT)
        moved = known & ~same & (self.subjects[stored] != subjects)
        return Matched(
            tuple(int(place) for place in np.flatnonzero(~same)),
            tuple(bytes(keys[place]) for place in np.flatnonzero(moved)),
        )

    def gone(self) -> tuple[bytes, ...]:
        """Return the keys of which the store no longer has a point."""
        return tuple(bytes(key) for key in self._sorted[~self.seen])

    def rows_of(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Return which rows have one of these keys."""
        import numpy as np

        wanted = np.array(keys, _TEXT)
        return np.asarray(np.isin(self.keys, wanted), np.bool_)

    def superseded(self, segments: int) -> list[int]:
        """Return for each segment how many of its rows a later row replaces."""
        import numpy as np

        total = np.bincount(self.segment, minlength=segments)
        live = np.bincount(self.segment[self.order], minlength=segments)
        return [int(one) for one in total - live]

    def live_rows(self, segment: int) -> NDArray[np.bool_]:
        """Return which rows of a segment are the newest of their key."""
        import numpy as np

        newest = np.zeros(len(self.keys), bool)
        newest[self.order] = True
        live: NDArray[np.bool_] = newest[self.segment == segment]
        return live


def read_index(directory: Path, segments: Sequence[Segment]) -> Index:
    """Return the index of a collection's segments.

    Raises:
        IntegrityError: when one cannot be read.
    """
    import numpy as np

    keys: list[Any] = [np.empty(0, _TEXT)]
    digests: list[Any] = [np.empty(0, _TEXT)]
    subjects: list[Any] = [np.empty(0, _TEXT)]
    places: list[Any] = [np.empty(0, np.int32)]
    for place, segment in enumerate(segments):
        table = read_columns(directory / segment.file, ("id", "digest", "subject"))
        ids = table.column("id").to_pylist()
        keys.append(np.array([key_of(one) for one in ids], _TEXT))
        digests.append(np.array(table.column("digest").to_pylist(), _TEXT))
        named = table.column("subject").to_pylist()
        subjects.append(np.array([_subject_key(one) for one in named], _TEXT))
        places.append(np.full(len(ids), place, np.int32))
    all_keys = np.concatenate(keys)
    order = np.argsort(all_keys, kind="stable")
    ordered = all_keys[order]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(order) else np.empty(0, bool)
    newest = order[last]
    return Index(
        keys=all_keys,
        digests=np.concatenate(digests),
        subjects=np.concatenate(subjects),
        segment=np.concatenate(places),
        order=newest,
        seen=np.zeros(len(newest), bool),
    )


def _subject_key(subject: str | None) -> bytes:
    return b"" if subject is None else key_of(subject)
