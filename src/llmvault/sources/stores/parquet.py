"""Parquet files of a store, read without the store: deleted rows too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.sources.interface import Point
from llmvault.sources.stores.samples import float32_bytes

_ROWS_A_BATCH = 1_000


def parquet_points(path: Path) -> Iterator[Point]:
    """Yield the rows of a file; lists of floats, and bytes that may be some, are vectors.

    Raises:
        UnavailableError: when it cannot be read.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UnavailableError(
            "pyarrow", f"it cannot be imported: {error}", "pip install 'llmvault[records]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_A_BATCH):
                for row in batch.to_pylist():
                    vectors = {
                        name: value if isinstance(value, bytes) else float32_bytes(value)
                        for name, value in row.items()
                        if isinstance(value, bytes) or _are_floats(value)
                    }
                    rest = {name: one for name, one in row.items() if name not in vectors}
                    yield Point(str(number), vectors, rest)
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"file {path}", f"it is no Parquet file: {error}") from error


def _are_floats(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, float) for one in value)
