"""What a captured tree holds: its names, what an exclusion leaves out, what changed since."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.files import entry_of, list_tree
from llmvault.snapshotters.interface import PREFIX
from llmvault.sources.exclusion import left_out
from llmvault.sources.interface import TreeCapture

# snapshots of btrfs lie beside what they are of, and another plan's may be there now
_OWN_SNAPSHOT = f".{PREFIX}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a tree holds.

    Attributes:
        entries: what is to be stored, in restic's order.
        omitted: topmost paths that an exclusion leaves out.
        sockets: paths of sockets; no backup can store them.
        unreadable: path -> cause.
    """

    entries: tuple[Entry, ...]
    omitted: tuple[str, ...]
    sockets: tuple[str, ...]
    unreadable: Mapping[str, str]

    @property
    def files(self) -> tuple[Entry, ...]:
        """The regular files."""
        return tuple(entry for entry in self.entries if entry.kind == "file")


def list_capture(capture: TreeCapture) -> Listing:
    """Return what a capture holds, without reading file contents."""
    unreadable: dict[str, str] = {}

    def note(path: str, error: OSError) -> None:
        unreadable[path or "."] = error.strerror or str(error)

    found = (
        list_tree(capture.root, on_error=note) if capture.paths is None else _named(capture, note)
    )
    entries: list[Entry] = []
    omitted: list[str] = []
    sockets: list[str] = []
    for entry in found:
        if omitted and entry.path.startswith(f"{omitted[-1]}/"):
            continue
        if _is_left_out(entry.path, capture):
            omitted.append(entry.path)
        elif entry.kind == "socket":
            sockets.append(entry.path)
        else:
            entries.append(entry)
    return Listing(tuple(entries), tuple(omitted), tuple(sockets), unreadable)


def _is_left_out(path: str, capture: TreeCapture) -> bool:
    own = path.rpartition("/")[2].startswith(_OWN_SNAPSHOT)
    return own or left_out(path, capture.exclude)


def _named(capture: TreeCapture, note: Callable[[str, OSError], None]) -> list[Entry]:
    entries = []
    for path in sorted(capture.paths or (), key=lambda path: os.fsencode(path).split(b"/")):
        try:
            entries.append(entry_of(capture.root, path))
        except OSError as error:
            note(path, error)
    return entries


def changed_since(capture: TreeCapture, listing: Listing) -> tuple[str, ...]:
    """Return the paths that are not as they were listed: changed, vanished or new."""
    changed: list[str] = []
    folders = [""]
    for entry in listing.entries:
        try:
            now = os.lstat(f"{capture.root}/{entry.path}")
        except OSError:
            changed.append(entry.path)
            continue
        if (now.st_mtime_ns, now.st_ctime_ns) == (entry.mtime_ns, entry.ctime_ns):
            continue
        if entry.kind == "dir":
            folders.append(entry.path)
        else:
            changed.append(entry.path)
    if capture.paths is None:
        changed.extend(_new_names(capture, listing, folders))
    return tuple(changed)


def _new_names(capture: TreeCapture, listing: Listing, folders: list[str]) -> Iterator[str]:
    known = {entry.path for entry in listing.entries}
    known.update(listing.omitted, listing.sockets, listing.unreadable)
    for folder in folders:
        try:
            names = os.listdir(f"{capture.root}/{folder}")  # noqa: PTH208
        except OSError:
            yield folder or "."
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if path not in known and not _is_left_out(path, capture):
                yield path


def literal_pattern(root: Path, relative: str) -> bytes:
    """Return the line of restic's exclude file that matches one path and nothing else.

    Glob characters and the dollar sign are escaped. A line end cannot be written; for it stands a
    class of three control characters. A space at the end would be trimmed, unless in a class.
    """
    path = str(root.resolve() / relative)
    last = ""
    if path[-1].isspace() and path[-1] != "\n":
        path, last = path[:-1], f"[{path[-1]}]"
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path).replace("$", "$$")
    return os.fsencode(escaped.replace("\n", "[\t-\v]") + last)
