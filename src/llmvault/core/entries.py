"""One name in a directory tree, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree, as ``lstat`` sees it.

    Attributes:
        path: relative to the root of the tree.
        kind: ``file``, ``dir``, ``symlink``, ``fifo``, ``socket``, ``device``.
        size: bytes of a file; 0 otherwise.
        target: where a symlink points; empty otherwise.
    """

    path: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    links: int
    target: str = ""
