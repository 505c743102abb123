"""The name git gives a file's content: SHA-1 over ``blob <size>\\0`` and the bytes."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_READ_SIZE = 1 << 20
_GIT_ID = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_git_id(name: str) -> bool:
    """Whether a name is a git object id."""
    return _GIT_ID.fullmatch(name) is not None


def is_sha256(name: str) -> bool:
    """Whether a name is a SHA-256 in hexadecimal."""
    return _SHA256.fullmatch(name) is not None


def git_blob_id(location: Path | str) -> str:
    """Return the git object id of a file's content, read in pieces.

    Raises:
        OSError: when it cannot be read.
    """
    with open(location, "rb", buffering=0) as stream:  # noqa: PTH123  surrogate escapes
        size = os.fstat(stream.fileno()).st_size
        hasher = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        while piece := stream.read(_READ_SIZE):
            hasher.update(piece)
    return hasher.hexdigest()
