"""The files of a directory with FAISS indexes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.files import list_tree, remove_tree
from llmvault.sources.formats.names import printable
from llmvault.sources.formats.pickled import HEAD_SIZE, is_pickled
from llmvault.sources.interface import Finding
from llmvault.sources.stores.files import clone_tree

_SUFFIXES = (".faiss", ".index")
_ATTEMPTS = 4


def index_paths(root: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the index files below a directory: the wanted ones that exist, or all by suffix."""
    if wanted:
        return tuple(path for path in wanted if (root / path).is_file())
    return tuple(entry.path for entry in _files(root) if entry.path.endswith(_SUFFIXES))


def read_id_maps(root: Path, maps: Mapping[str, str]) -> dict[str, list[str]]:
    """Return index -> the id of each of its positions, from JSON files.

    Raises:
        IntegrityError: when one is not a list of ids, or an object that maps every position.
    """
    return {index: _read_id_map(root / path) for index, path in maps.items()}


def _read_id_map(path: Path) -> list[str]:
    thing = f"id map {path}"
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise IntegrityError(thing, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise IntegrityError(thing, "it is not JSON") from error
    if isinstance(value, list):
        return [str(each) for each in value]
    try:
        return [str(value[str(place)]) for place in range(len(value))]
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            thing, "it is neither a list of ids nor an object that maps every position to one"
        ) from error


def side_findings(root: Path) -> tuple[Finding, ...]:
    """Return what is noteworthy about the other files: pickles, links, nothing at all."""
    entries = list(_entries(root))
    found = []
    for entry in entries:
        if entry.kind == "symlink":
            detail = "a symbolic link; neither it nor what it points to is captured"
            found.append(Finding("link-left-out", printable(entry.path), detail, "warning"))
        elif entry.kind == "file" and _is_pickle(root / entry.path):
            detail = "a pickle: whoever loads it runs the code in it; it was not loaded"
            found.append(Finding("pickle", printable(entry.path), detail, "warning"))
    if any(entry.kind == "file" and not entry.size for entry in entries):
        empty = next(entry.path for entry in entries if entry.kind == "file" and not entry.size)
        found.append(Finding("empty-file", printable(empty), "the file is empty", "unproven"))
    return tuple(found)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(HEAD_SIZE)
    return path.suffix in (".pkl", ".pickle") or is_pickled(head)


def copy_settled(source: Path, target: Path) -> bool:
    """Copy a directory; return whether nothing in it changed meanwhile, after four attempts."""
    for _ in range(_ATTEMPTS):
        if target.exists():
            remove_tree(target)
        before = _stamps(source)
        try:
            clone_tree(source, target)
        except FileNotFoundError:
            continue  # replaced meanwhile
        if _stamps(source) == before:
            return True
    if not target.exists():
        raise UnavailableError(f"directory {source}", "it changes all the time", "try again later")
    return False


def carry_others(live: Path, fresh: Path) -> None:
    """Copy the files that a directory made anew does not have."""
    for entry in _files(live):
        target = fresh / entry.path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(live / entry.path, target)


def _stamps(root: Path) -> dict[str, tuple[int, int, int]]:
    return {each.path: (each.size, each.mtime_ns, each.inode) for each in _files(root)}


def _files(root: Path) -> Iterator[Entry]:
    return (entry for entry in _entries(root) if entry.kind == "file")


def _entries(root: Path) -> Iterator[Entry]:
    return list_tree(root, on_error=_refuse)


def _refuse(path: str, error: OSError) -> None:
    raise UnavailableError(
        f"file {printable(path)}", f"it cannot be read: {error.strerror}", "look at permissions"
    ) from error
