"""Writing a store's points into segments, and as little as possible of them anew.

The segments of the last run are kept. A point that is in them as it is now is not written again;
new and changed points go into new segments, which take precedence over the old ones. So a run adds
what changed, wherever in the collection that is. A point that is gone, or is now about another
person, leaves the segments that held it: those are written again without it. When a fifth of the
rows are replaced ones, or segments become many, all is written afresh.

Where nothing is kept, segments end at points chosen by the digest of their id, so that the same
points in the same order give the same files whatever comes before or after them.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.sources.interface import CollectionFacts, Finding, RecordSet, RecordsView
from llmvault.sources.records.index import Index, read_index
from llmvault.sources.records.layout import (
    COLLECTION_FILE,
    ROOT_FILE,
    SEGMENT_SUFFIX,
    Collection,
    Segment,
    directory_of,
    read_collection,
    write_collection,
    write_root,
)
from llmvault.sources.records.rows import Row, encode_point, key_of
from llmvault.sources.records.segments import read_whole, write_segment, write_table

if TYPE_CHECKING:
    import pyarrow as pa

_READINGS = 4
_ROWS_A_BATCH = 1_000
_BYTES_A_BATCH = 8 << 20
_SEGMENT_BYTES = 8 << 20  # a segment may end from here on
_LONGEST_SEGMENT = 32 << 20  # and does here
_CUT = 4_096  # of so many points one ends a segment
_MOST_REPLACED = 0.2
_MOST_SEGMENTS = 64  # beyond twice as many as a fresh export would have


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export found.

    Attributes:
        collections: facts of each, sampled by the lowest ids.
        findings: what is wrong with the points.
        written: points that were written, in the first reading.
    """

    collections: tuple[CollectionFacts, ...]
    findings: tuple[Finding, ...]
    written: int


def export(
    view: RecordsView,
    root: Path,
    *,
    kind: str,
    wanted: Sequence[str] = (),
    subject_field: str = "",
    sample: int,
) -> Exported:
    """Bring the segments below `root` up to what a store holds.

    Unless the store is seen at one moment, it is read until two readings are the same, at most four
    times: what was equal in both is what it held between them.

    Args:
        wanted: names of the collections to take; all when empty.

    Raises:
        IntegrityError: when a point has no form in the format.
        OSError: when the disk is full; no half-written segment stays.
    """
    readings = 1 if view.at_one_moment else _READINGS
    written = -1
    for reading in range(readings):
        taken = [one for one in view.record_sets() if not wanted or one.name in wanted]
        exports = [
            _CollectionExport(view, one, root / directory_of(one.name), subject_field, sample)
            for one in taken
        ]
        for one in exports:
            one.run(first=reading == 0)
        write_root(root, kind, tuple(one.records.name for one in exports))
        _sweep_collections(root, {one.directory.name for one in exports})
        if written < 0:
            written = sum(one.changes for one in exports)
        elif not any(one.changes for one in exports):
            exports = [one for one in exports]
            break
    unstable = [one for one in exports if one.changes] if readings > 1 else []
    return Exported(
        tuple(one.facts() for one in exports),
        (
            *(_unstable(one.records.name) for one in unstable),
            *(finding for one in exports for finding in one.findings()),
            *_nothing(exports),
        ),
        written,
    )


def _unstable(name: str) -> Finding:
    detail = "it was being written to; the records are of no single moment"
    return Finding("changed-during-export", name, detail, "unproven")


def _nothing(exports: Sequence[_CollectionExport]) -> tuple[Finding, ...]:
    if any(one.total for one in exports):
        return ()
    return (Finding("no-records", "", "the store holds no record", "unproven"),)


def _sweep_collections(root: Path, present: set[str]) -> None:
    """Remove collections that the store no longer has."""
    for path in root.iterdir():
        if path.name != ROOT_FILE and path.name not in present:
            rmtree(path) if path.is_dir() else path.unlink()


@dataclass(slots=True)
class _CollectionExport:
    """One collection on its way into its directory."""

    view: RecordsView
    records: RecordSet
    directory: Path
    subject_field: str
    sample: int
    total: int = 0
    changes: int = 0
    counted: int = 0
    odd: int = 0
    odd_example: str = ""
    _samples: _Samples = field(init=False)

    def run(self, *, first: bool) -> None:
        self._samples = _Samples(self.sample)
        before = self._kept(first=first)
        self._sweep(before)
        segments = list(before.segments) if before else []
        index = read_index(self.directory, segments)
        writer = _SegmentWriter(self.directory, self.records, _next_number(segments))
        try:
            purged = self._read(index, writer)
            gone = index.gone()
            kept = self._without(index, segments, [*gone, *purged], writer)
            self.changes = writer.rows + len(gone)
            if before is None or writer.rows or gone or purged:
                segments = [*kept, *writer.done]
        except BaseException:
            writer.undo()
            raise
        self._conclude(segments)

    def _kept(self, *, first: bool) -> Collection | None:
        """Return what an earlier run left, if it is worth going on with."""
        if not (self.directory / COLLECTION_FILE).is_file():
            return None
        try:
            before = read_collection(self.directory)
        except IntegrityError:
            return None
        if before.subject_field != self.subject_field or not _same_shape(
            before.records, self.records
        ):
            return None
        rows = sum(one.rows for one in before.segments)
        replaced = sum(one.superseded for one in before.segments)
        many = _MOST_SEGMENTS + 2 * math.ceil(rows / _CUT)
        if first and (replaced > _MOST_REPLACED * rows or len(before.segments) > many):
            return None
        return before

    def _sweep(self, before: Collection | None) -> None:
        """Remove segments that nothing speaks of: of a run that died, or about to be replaced."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if before is None:
            (self.directory / COLLECTION_FILE).unlink(missing_ok=True)
        named = {one.file for one in before.segments} if before else set()
        for path in self.directory.iterdir():
            if path.name not in named | {COLLECTION_FILE}:
                path.unlink()

    def _read(self, index: Index, writer: _SegmentWriter) -> list[bytes]:
        purged: list[bytes] = []
        self.total = 0
        for batch in _batches(self._rows()):
            matched = index.match(batch)
            purged.extend(matched.purged)
            for place in matched.fresh:
                writer.add(batch[place])
            self._look(batch)
        writer.close()
        return purged

    def _rows(self) -> Iterator[Row]:
        for point in self.view.points(self.records.name):
            yield encode_point(point, self.records, self.subject_field)

    def _look(self, batch: Sequence[Row]) -> None:
        self.total += len(batch)
        for row in batch:
            self._samples.offer(row)
        if odd := _not_finite(batch):
            self.odd += len(odd)
            self.odd_example = self.odd_example or odd[0]

    def _without(
        self, index: Index, segments: Sequence[Segment], keys: list[bytes], writer: _SegmentWriter
    ) -> list[Segment]:
        """Return the old segments, those with one of these keys written again without them."""
        if not keys:
            return list(segments)
        import numpy as np
        import pyarrow as pa

        rows = index.rows_of(keys)
        affected = {int(place) for place in np.unique(index.segment[rows])}
        kept = []
        for place, segment in enumerate(segments):
            if place not in affected:
                kept.append(segment)
                continue
            stays = ~rows[index.segment == place] & index.live_rows(place)
            table = read_whole(self.directory / segment.file).filter(pa.array(stays))
            if table.num_rows:
                kept.append(writer.rewritten(table.combine_chunks()))
        return kept

    def _conclude(self, segments: Sequence[Segment]) -> None:
        """Make the new list of segments the one that holds, then remove what it lacks."""
        index = read_index(self.directory, segments)
        replaced = index.superseded(len(segments))
        listed = tuple(
            Segment(one.file, one.rows, gone) for one, gone in zip(segments, replaced, strict=True)
        )
        collection = Collection(self.records, self.subject_field, index.count, listed)
        write_collection(self.directory, collection)
        self._sweep(collection)
        self.counted = index.count

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the points."""
        name = self.records.name
        stated = self.view.count(name)
        if not self.counted == self.total == stated and not self.changes_under_way():
            detail = f"the store says it has {stated} records and gives {self.total}"
            if self.total != self.counted:
                detail += f", of which {self.total - self.counted} have the id of another"
            yield Finding("count-differs", name, detail, "failed")
        if self.odd:
            detail = (
                f"{self.odd} vectors hold a NaN or an infinity, such as that of record "
                f"{self.odd_example!r}: no search finds them"
            )
            yield Finding("vectors-not-finite", name, detail, "failed")

    def changes_under_way(self) -> bool:
        """Whether the last reading of a store without snapshots still differed."""
        return not self.view.at_one_moment and self.changes > 0

    def facts(self) -> CollectionFacts:
        """Return what was learned of the collection."""
        return facts_of(self.records, self.counted, self._samples.rows())


def facts_of(records: RecordSet, count_: int, samples: Iterable[Row]) -> CollectionFacts:
    """Return the facts of a collection from its definition, count and sample rows.

    Digests leave the vectors out where the store does not give them back exactly.
    """
    ordered = sorted(samples, key=lambda row: row.id)
    vectors = {row.id: vector for row in ordered if (vector := _first_vector(row)) is not None}
    main = records.vectors[0] if records.vectors else None
    # what a store finds out by itself as points are added is no setting
    stated = {key: one for key, one in records.native.items() if key != "schema_found"}
    return CollectionFacts(
        name=records.name,
        count=count_,
        dimension=main.dimension if main and count_ else None,
        sample_digests={row.id: row.digest(with_vectors=records.exact).hex() for row in ordered},
        sample_vectors={
            key: struct.unpack(f"<{len(vector) // 4}f", vector) for key, vector in vectors.items()
        },
        settings={
            "native": canonical_bytes(stated).decode(),
            **{
                f"vector {one.name}".rstrip(): canonical_bytes(
                    {"dimension": one.dimension, "distance": one.distance, "index": dict(one.index)}
                ).decode()
                for one in records.vectors
            },
        },
    )


def facts_of_view(
    view: RecordsView, records: RecordSet, subject_field: str, sample: int
) -> CollectionFacts:
    """Return the facts of a collection of an open store, reading every point of it."""
    samples = _Samples(sample)
    for point in view.points(records.name):
        samples.offer(encode_point(point, records, subject_field))
    return facts_of(records, view.count(records.name), samples.rows())


def _first_vector(row: Row) -> bytes | None:
    return row.vectors[0] if row.vectors else None


def _same_shape(one: RecordSet, other: RecordSet) -> bool:
    """Whether segments written for one collection fit another."""
    return one.name == other.name and [(v.name, v.dimension) for v in one.vectors] == [
        (v.name, v.dimension) for v in other.vectors
    ]


def _not_finite(batch: Sequence[Row]) -> list[str]:
    import numpy as np

    packed = b"".join(vector for row in batch for vector in row.vectors if vector is not None)
    if np.isfinite(np.frombuffer(packed, "<f4")).all():
        return []
    return [
        row.id
        for row in batch
        if any(
            not np.isfinite(np.frombuffer(vector, "<f4")).all()
            for vector in row.vectors
            if vector is not None
        )
    ]


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row.size
        if len(batch) >= _ROWS_A_BATCH or size >= _BYTES_A_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _next_number(segments: Sequence[Segment]) -> int:
    numbers = (int(one.file.removesuffix(SEGMENT_SUFFIX)) for one in segments)
    return max(numbers, default=-1) + 1


class _SegmentWriter:
    """Cuts rows into segments."""

    def __init__(self, directory: Path, records: RecordSet, first: int) -> None:
        self._directory = directory
        self._fields = records.vectors
        self._numbers = count(first)
        self._made: list[Path] = []
        self._rows: list[Row] = []
        self._bytes = 0
        self.done: list[Segment] = []
        self.rows = 0

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._bytes += row.size
        self.rows += 1
        ends = self._bytes >= _SEGMENT_BYTES and _cuts(row.id)
        if ends or self._bytes >= _LONGEST_SEGMENT:
            self.close()

    def close(self) -> None:
        if not self._rows:
            return
        path = self._new()
        write_segment(path, self._rows, self._fields)
        self.done.append(Segment(path.name, len(self._rows)))
        self._rows, self._bytes = [], 0

    def rewritten(self, table: pa.Table) -> Segment:
        path = self._new()
        write_table(path, table)
        return Segment(path.name, table.num_rows)

    def _new(self) -> Path:
        path = self._directory / f"{next(self._numbers):06}{SEGMENT_SUFFIX}"
        self._made.append(path)
        return path

    def undo(self) -> None:
        for path in self._made:
            path.unlink(missing_ok=True)


def _cuts(identifier: str) -> bool:
    return int.from_bytes(key_of(identifier)[:4], "little") % _CUT == 0


class _Samples:
    """Keeps the rows of the lowest ids by code point."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[_Reversed] = []

    def offer(self, row: Row) -> None:
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, _Reversed(row))
        elif row.id < self._heap[0].row.id:
            heapq.heapreplace(self._heap, _Reversed(row))

    def rows(self) -> list[Row]:
        return [one.row for one in self._heap]


@dataclass(frozen=True, slots=True)
class _Reversed:
    row: Row

    def __lt__(self, other: _Reversed) -> bool:
        return self.row.id > other.row.id
