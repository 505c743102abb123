"""Keep the passages in a LanceDB table on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from examples.deployment import facts
from examples.deployment.documents import Passage

if TYPE_CHECKING:
    import numpy as np


def fill(
    folder: Path, passages: Sequence[Passage], vectors: "Callable[[], NDArray[np.float32]]"
) -> bool:
    """Bring every passage into the table; return False if nothing was missing.

    `vectors` is called only if passages are missing, and returns one vector per passage.
    """
    import lancedb
    import pyarrow as pa

    database = lancedb.connect(folder)
    present = (folder / f"{facts.TABLE}.lance").is_dir()
    if present and database.open_table(facts.TABLE).count_rows() >= len(passages):
        return False
    kind = pa.list_(pa.float32(), facts.EMBEDDING_DIMENSIONS)
    rows = pa.table(
        {
            "id": [passage.id for passage in passages],
            "body": [passage.text for passage in passages],
            "source": [passage.source for passage in passages],
            "vector": pa.array(list(vectors()), kind),
        }
    )
    database.create_table(facts.TABLE, rows, mode="overwrite")
    return True
