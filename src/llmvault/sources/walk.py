"""The tree that a file source protects: what is in it, and what cannot be stored as it lies."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import list_tree
from llmvault.sources.exclusion import left_out
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import Finding

_CACHE_TAG = "CACHEDIR.TAG"
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_MAX_HOPS = 40
_SPECIAL = {"fifo": "a FIFO", "socket": "a socket", "device": "a device"}


@dataclass(frozen=True, slots=True)
class Tree:
    """What a source's root holds, exclusions applied.

    Attributes:
        root: without symbolic links in it, so that link targets can be compared with it.
        entries: in the order of the walk, parents first.
        exclude: the policy's patterns, and one for each tagged cache folder that is left out.
        findings: names that cannot be read, special files.
    """

    root: Path
    entries: tuple[Entry, ...]
    exclude: tuple[str, ...]
    findings: tuple[Finding, ...]
    by_path: Mapping[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_path", {entry.path: entry for entry in self.entries})


@dataclass(frozen=True, slots=True)
class Link:
    """Where a symbolic link leads.

    Attributes:
        path: the file it leads to, relative to the root; empty when it is of no use in a restore.
        size: bytes of that file.
        problem: why it is of no use: ``dangling``, ``loop``, ``outside``, ``absolute``,
            ``left-out``, ``no-file``; empty when it is fine.
    """

    path: str
    size: int = 0
    problem: str = ""


def existing_root(path: Path, name: str) -> Path:
    """Return a source's root with every symbolic link resolved.

    Raises:
        UnavailableError: when it is not an existing directory.
    """
    thing = f'source "{name}"'
    try:
        root = Path(os.path.realpath(path, strict=True))
        if not root.is_dir():
            raise UnavailableError(thing, f"{path} is not a directory", "correct its path")
    except OSError as error:
        raise UnavailableError(
            thing, f"{path} cannot be reached: {error.strerror}", "mount it, or correct its path"
        ) from error
    return root


def read_tree(
    path: Path, name: str, *, exclude: Sequence[str] = (), exclude_caches: bool = False
) -> Tree:
    """Return what is below a source's root.

    Args:
        path: the root.
        name: of the source, for messages.
        exclude: patterns as of :func:`left_out`.
        exclude_caches: leave out what lies in folders with a valid CACHEDIR.TAG.

    Raises:
        UnavailableError: when the root is not an existing directory.
        RefusedError: when the tag lies in the root, so that nothing would be stored.
    """
    root = existing_root(path, name)
    findings: list[Finding] = []

    def unreadable(relative: str, error: OSError) -> None:
        findings.append(unreadable_finding(relative or ".", error))

    entries = list(list_tree(root, on_error=unreadable))
    patterns = tuple(exclude)
    if exclude_caches:
        patterns += _tagged_folders(root, entries, name)
    if patterns:
        entries = [entry for entry in entries if not left_out(entry.path, patterns)]
        findings = [found for found in findings if not left_out(found.path, patterns)]
    findings.extend(map(_special_finding, (e for e in entries if e.kind in _SPECIAL)))
    return Tree(root, tuple(entries), patterns, tuple(findings))


def follow(tree: Tree, entry: Entry) -> Link:
    """Return where a symbolic link of the tree leads, through other links if need be."""
    path, target = entry.path, entry.target
    for _ in range(_MAX_HOPS):
        if target.startswith("/"):
            return _diagnose(tree, entry, through_absolute=True)
        path = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
        found = tree.by_path.get(path)
        if found is None:
            return _diagnose(tree, entry, through_absolute=False)
        if found.kind != "symlink":
            return Link(path, found.size) if found.kind == "file" else Link("", problem="no-file")
        target = found.target
    return Link("", problem="loop")


def _diagnose(tree: Tree, entry: Entry, *, through_absolute: bool) -> Link:
    full = os.path.realpath(os.path.join(tree.root, entry.path))  # noqa: PTH118
    if not f"{full}/".startswith(os.path.join(tree.root, "")):  # noqa: PTH118
        return Link("", problem="outside")
    if through_absolute:
        return Link("", problem="absolute")
    try:
        seen = os.stat(full)  # noqa: PTH116
    except OSError as error:
        return Link("", problem="loop" if error.errno == errno.ELOOP else "dangling")
    if not stat.S_ISREG(seen.st_mode):
        return Link("", problem="no-file")
    path = os.path.relpath(full, tree.root)
    return Link(path, seen.st_size) if path in tree.by_path else Link("", problem="left-out")


def link_cause(entry: Entry, link: Link) -> str:
    """Return one sentence on why a link is of no use in a restore."""
    target = printable(entry.target)
    return {
        "dangling": f"it points to {target}, which does not exist",
        "loop": f"it points to {target}, which leads back to it",
        "outside": f"it points to {target}, outside of the source: only the link would be stored",
        "absolute": f"it points to the absolute path {target}: restored elsewhere it leads back",
        "left-out": f"it points to {target}, which the policy leaves out",
        "no-file": f"it points to {target}, which is no regular file",
    }[link.problem]


def unreadable_finding(path: str, error: OSError) -> Finding:
    """Return the finding of a name that cannot be read."""
    cause = error.strerror or str(error)
    return Finding("unreadable", printable(path), f"it cannot be read: {cause}", "unproven")


def _special_finding(entry: Entry) -> Finding:
    detail = f"{_SPECIAL[entry.kind]} has no content that a backup could keep"
    return Finding("special-file", printable(entry.path), detail, "warning")


def _tagged_folders(root: Path, entries: Sequence[Entry], name: str) -> tuple[str, ...]:
    patterns = []
    for entry in entries:
        folder, _, tag = entry.path.rpartition("/")
        if tag != _CACHE_TAG or entry.kind != "file" or not is_cache_folder(root / folder):
            continue
        if not folder:
            raise RefusedError(
                f'source "{name}"',
                f"exclude_caches is set and {root} holds a {_CACHE_TAG}: nothing would be stored",
                "remove exclude_caches from this source",
            )
        patterns.append(f"/{glob.escape(folder)}/*")
    return tuple(patterns)


def is_cache_folder(path: Path) -> bool:
    """Whether a folder holds a valid CACHEDIR.TAG (Cache Directory Tagging Specification)."""
    try:
        with (path / _CACHE_TAG).open("rb") as stream:
            return stream.read(len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        return False
