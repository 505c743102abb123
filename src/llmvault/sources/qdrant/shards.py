"""Directories of Qdrant Edge shards: where they are.

An Edge shard is a directory with ``segments`` in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

SEGMENTS = "segments"


def find_shards(root: Path) -> Mapping[str, Path]:
    """Return collection -> shard: the directory itself if it is one, else those in it."""
    if (root / SEGMENTS).is_dir():
        return {unquote(root.name): root}
    found = sorted(path for path in root.iterdir() if (path / SEGMENTS).is_dir())
    return {unquote(path.name): path for path in found}


def shard_directory(root: Path, name: str) -> Path:
    """Return where the shard of a collection is to be."""
    encoded = quote(name, safe="")
    return root / (encoded.replace(".", "%2E") if encoded in (".", "..") else encoded)
