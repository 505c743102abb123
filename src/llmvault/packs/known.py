"""What a repository holds already, by its index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmvault.packs.files import RepositoryFiles, unpacked
from llmvault.packs.format import Blob, parse_index, parse_snapshot_tree, parse_tree

LARGEST_INDEX = 24 << 20  # bytes; half a million blobs, for which some 80 MiB of memory are taken
_LARGEST_TREE = 64 << 20


@dataclass(slots=True)
class Known:
    """The blobs that an index names; `data` grows while packs are written.

    Attributes:
        data: ids of data blobs.
        trees: id -> where a tree is.
    """

    data: set[bytes] = field(default_factory=set)
    trees: dict[bytes, tuple[str, Blob]] = field(default_factory=dict)

    def read_tree(self, files: RepositoryFiles, tree: str) -> list[dict[str, Any]]:
        """Return the nodes of a tree.

        Raises:
            ValueError: when the index does not name it, or it cannot be understood.
            OSError: when it cannot be read.
            IntegrityError: when it was changed.
        """
        pack, blob = self.trees.get(bytes.fromhex(tree), ("", None))
        if blob is None:
            raise ValueError(f"no index names the tree {tree[:8]}")
        data = files.read_part(pack, blob.offset, blob.length)
        return parse_tree(unpacked(data, _LARGEST_TREE) if blob.uncompressed else data)


def read_known(files: RepositoryFiles) -> Known:
    """Return what all index files name.

    Raises:
        ValueError: when the index is too large for this, or cannot be understood.
        OSError: when it cannot be read.
        IntegrityError: when it was changed.
    """
    if files.size("index") > LARGEST_INDEX:
        raise ValueError("the index is too large to be held in memory")
    known = Known()
    for name in files.names("index"):
        for pack in parse_index(files.read("index", name)):
            for blob in pack.blobs:
                if blob.kind == "data":
                    known.data.add(blob.id)
                else:
                    known.trees[blob.id] = (pack.id, blob)
    return known


def tree_of(files: RepositoryFiles, snapshot: str) -> str:
    """Return the id of a snapshot's tree.

    Raises:
        ValueError: when it is no snapshot.
        OSError: when it cannot be read.
    """
    return parse_snapshot_tree(files.read("snapshots", snapshot))
