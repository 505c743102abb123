"""Segments: rows as Parquet files, and back; the only place that uses pyarrow for records.

One row group per file, no dictionary, no compression (restic compresses, and recognises only what
is not), pages cut by content so that a file from which a row is gone shares its other pages with
the old one. The same rows give the same bytes with the same release of pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.interface import VectorField
from llmvault.sources.records.layout import column_of
from llmvault.sources.records.rows import DIGEST_SIZE, Row

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_A_BATCH = 1_000


def require_pyarrow() -> None:
    """Raise unless pyarrow and numpy can be imported.

    Raises:
        UnavailableError: when they are not installed.
    """
    try:
        import numpy  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            "pyarrow", f"it cannot be imported: {error}", "pip install 'llmvault[records]'"
        ) from error


def write_segment(path: Path, rows: Sequence[Row], fields: Sequence[VectorField]) -> None:
    """Write rows to a new file."""
    write_table(path, _table(rows, fields))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table to a new file."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("xb") as stream:
        path.chmod(0o600)
        with pq.ParquetWriter(
            stream,
            table.schema,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            use_content_defined_chunking=True,
        ) as writer:
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _table(rows: Sequence[Row], fields: Sequence[VectorField]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "subject": pa.array([row.subject for row in rows], pa.string()),
        "digest": pa.array([row.digest()[:DIGEST_SIZE] for row in rows], pa.binary(DIGEST_SIZE)),
        "document": pa.array([row.document for row in rows], pa.string()),
        "payload": pa.array([row.payload for row in rows], pa.binary()).cast(pa.string()),
        "native": pa.array([row.native for row in rows], pa.binary()).cast(pa.string()),
    }
    for place, one in enumerate(fields):
        columns[column_of(one)] = _vectors([row.vectors[place] for row in rows], one.dimension)
    return pa.table(columns)


def _vectors(vectors: Sequence[bytes | None], dimension: int | None) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    absent = [one is None for one in vectors]
    mask = pa.array(absent, pa.bool_()) if any(absent) else None
    element = pa.field("element", pa.float32(), nullable=False)
    if dimension:
        filler = bytes(4 * dimension)
        packed = b"".join(filler if one is None else one for one in vectors)
        values = pa.array(np.frombuffer(packed, "<f4"))
        return pa.FixedSizeListArray.from_arrays(
            values, type=pa.list_(element, dimension), mask=mask
        )
    lengths = [0, *(len(one or b"") // 4 for one in vectors)]
    offsets = pa.array(np.cumsum(lengths, dtype=np.int32))
    values = pa.array(np.frombuffer(b"".join(one or b"" for one in vectors), "<f4"))
    return pa.ListArray.from_arrays(offsets, values, type=pa.list_(element), mask=mask)


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a segment.

    Raises:
        IntegrityError: when it cannot be read.
    """
    return _guarded(path, lambda pq: pq.read_table(path, columns=list(columns)))


def read_whole(path: Path) -> pa.Table:
    """Return a segment as one table.

    Raises:
        IntegrityError: when it cannot be read.
    """
    return _guarded(path, lambda pq: pq.read_table(path))


def _guarded(path: Path, read: Any) -> pa.Table:  # noqa: ANN401  a function of pyarrow.parquet
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return read(pq)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> IntegrityError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return IntegrityError(str(path), f"it cannot be read as a segment: {said}", "restore it again")


def read_rows(path: Path, fields: Sequence[VectorField]) -> Iterator[Row]:
    """Yield the rows of a segment, in their order, a batch in memory at a time.

    Raises:
        IntegrityError: when it cannot be read, or a row does not match its own digest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_A_BATCH):
                yield from _rows(path, batch, fields)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(path, error) from error


def _rows(path: Path, batch: pa.RecordBatch, fields: Sequence[VectorField]) -> Iterator[Row]:
    import pyarrow as pa

    def column(name: str) -> list[Any]:
        return list(batch.column(name).to_pylist())

    payloads = batch.column("payload").cast(pa.binary()).to_pylist()
    natives = batch.column("native").cast(pa.binary()).to_pylist()
    vectors = [_unpacked(batch.column(column_of(one)), len(batch)) for one in fields]
    columns = (column("id"), payloads, column("document"), natives, column("subject"))
    digests = column("digest")
    for place, (key, payload, document, native, subject) in enumerate(zip(*columns, strict=True)):
        row = Row(key, payload, document, native, tuple(one[place] for one in vectors), subject)
        if row.digest()[:DIGEST_SIZE] != digests[place]:
            raise IntegrityError(str(path), f"record {key!r} does not match its digest")
        yield row


def _unpacked(column: Any, rows: int) -> list[bytes | None]:  # noqa: ANN401  an array of lists
    flat = column.flatten().to_numpy(zero_copy_only=False)  # nulls are left out of it
    lengths = column.value_lengths().to_pylist()
    vectors: list[bytes | None] = []
    start = 0
    for length, valid in zip(lengths, column.is_valid().to_pylist(), strict=True):
        if not valid:
            vectors.append(None)
            continue
        vectors.append(flat[start : start + length].astype("<f4", copy=False).tobytes())
        start += length
    return vectors
