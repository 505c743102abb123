"""Keep the passages in a SQLite file with sqlite-vec, as an assistant keeps its memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from examples.deployment import facts
from examples.deployment.documents import Passage

if TYPE_CHECKING:
    import numpy as np


def fill(
    path: Path, passages: Sequence[Passage], vectors: "Callable[[], NDArray[np.float32]]"
) -> bool:
    """Bring every passage into the file; return False if nothing was missing.

    `vectors` is called only if passages are missing, and returns one vector per passage.
    """
    import apsw
    import sqlite_vec

    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    try:
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS passages USING vec0(id TEXT PRIMARY KEY, "
            f"embedding float[{facts.EMBEDDING_DIMENSIONS}] distance_metric=cosine, "
            "source TEXT, +body TEXT)"
        )
        (count,) = next(connection.execute("SELECT count(*) FROM passages"))
        if int(str(count)) >= len(passages):
            return False
        with connection:
            connection.execute("DELETE FROM passages")
            connection.executemany(
                "INSERT INTO passages VALUES (?, ?, ?, ?)",
                [
                    (passage.id, vector.astype("<f4").tobytes(), passage.source, passage.text)
                    for passage, vector in zip(passages, vectors(), strict=True)
                ],
            )
        return True
    finally:
        connection.close()
