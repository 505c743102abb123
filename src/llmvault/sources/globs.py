"""Finding files by patterns below a root, without walking more of it than the patterns name.

``*``, ``?`` and ``[…]`` match within a name, hidden names too; ``**`` matches any number of
folders; a pattern that names a folder means everything in it. Symbolic links are found, never
followed, so a loop of links ends nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.files import entry_of, list_tree

OnError = Callable[[str, OSError], None]
_MAGIC = frozenset("*?[")


def expand(root: Path, pattern: str, on_error: OnError) -> Iterator[Entry]:
    """Yield what a pattern matches, folders excepted; a name may come more than once.

    A name that cannot be read is handed to `on_error` with its path relative to `root`.
    """
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    yield from _match(root, "", segments or ["**"], on_error)


def leaves_root(pattern: str) -> bool:
    """Whether a pattern is absolute or climbs out of the root."""
    return pattern.startswith("/") or ".." in pattern.split("/")


def _match(root: Path, folder: str, segments: Sequence[str], on_error: OnError) -> Iterator[Entry]:
    head, rest = segments[0], segments[1:]
    if head == "**" and not rest:
        yield from _everything(root, folder, on_error)
    elif head == "**":
        yield from _match(root, folder, rest, on_error)
        for entry in _children(root, folder, "*", on_error):
            if entry.kind == "dir":
                yield from _match(root, entry.path, segments, on_error)
    else:
        for entry in _children(root, folder, head, on_error):
            if entry.kind == "dir":
                yield from _match(root, entry.path, rest or ["**"], on_error)
            elif not rest:
                yield entry


def _children(root: Path, folder: str, pattern: str, on_error: OnError) -> Iterator[Entry]:
    for name in _names(root, folder, pattern, on_error):
        path = f"{folder}/{name}" if folder else name
        try:
            yield entry_of(root, path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                on_error(path, error)


def _names(root: Path, folder: str, pattern: str, on_error: OnError) -> list[str]:
    if not _MAGIC & set(pattern):
        return [pattern]
    try:
        names = sorted(os.listdir(root / folder), key=os.fsencode)  # noqa: PTH208
    except OSError as error:
        on_error(folder or ".", error)
        return []
    return [name for name in names if fnmatchcase(name, pattern)]


def _everything(root: Path, folder: str, on_error: OnError) -> Iterator[Entry]:
    prefix = f"{folder}/" if folder else ""
    below = list_tree(root / folder, on_error=lambda path, error: on_error(prefix + path, error))
    for entry in below:
        if entry.kind != "dir":
            yield replace(entry, path=prefix + entry.path) if prefix else entry
