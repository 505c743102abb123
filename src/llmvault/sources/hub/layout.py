"""How a Hugging Face cache lies on disk.

    <hub>/models--ORG--NAME/blobs/<SHA-256 of an LFS file, git object id of any other>
    <hub>/models--ORG--NAME/refs/main                  the commit
    <hub>/models--ORG--NAME/snapshots/<commit>/<path>  -> ../../blobs/...
    <hub>/models--ORG--NAME/trees/<commit>.json        the commit's listing (huggingface_hub 2)
    <hub>/blobs/xx/<xet hash>                          shared content; a repository's blob is then
                                                       a link to it (huggingface_hub 2)
    <hub>/.locks/...                                   locks of downloads

Datasets, spaces and kernels lie in ``datasets--…``, ``spaces--…``, ``kernels--…``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.sources.formats.documents import read_document
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.git_blob import is_git_id
from llmvault.sources.walk import Link, Tree, follow

LOCKS = ".locks"
INCOMPLETE = ".incomplete"
_FOLDER = re.compile(r"(model|dataset|space|kernel)s--(.+)")
_PREFIXED = re.compile(r"(model|dataset|space|kernel)s/(.+)")
_MAX_REF = 256


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One name in a snapshot.

    Attributes:
        path: relative to the snapshot.
        blob: name of the blob it links to; empty for a file that lies in the snapshot itself.
        entry: the name in the tree.
        link: where the bytes are.
    """

    path: str
    blob: str
    entry: Entry
    link: Link


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as a commit's listing has it; `sha256` only for files in LFS."""

    size: int
    git_id: str
    sha256: str

    @property
    def blob_name(self) -> str:
        """The blob that should hold it."""
        return self.sha256 or self.git_id


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository in the cache.

    Attributes:
        folder: name below the hub.
        kind: ``model``, ``dataset``, ``space`` or ``kernel``.
        name: organisation/name.
        refs: branch or tag -> commit.
        snapshots: commit -> its files.
        blobs: name -> where its bytes are.
        listings: commit -> path -> what the Hub said of it.
        incomplete: entries of downloads that have not ended.
        is_link: the folder is a symbolic link, so that only the link would be stored.
    """

    folder: str
    kind: str
    name: str
    refs: Mapping[str, str]
    snapshots: Mapping[str, tuple[SnapshotFile, ...]]
    blobs: Mapping[str, Link]
    listings: Mapping[str, Mapping[str, ListedFile]]
    incomplete: tuple[Entry, ...]
    is_link: bool


def hub_of(path: Path) -> Path:
    """Return the hub of a path that is one (``HF_HUB_CACHE``), or holds one (``HF_HOME``)."""
    inner = path / "hub"
    return inner if not _holds_repositories(path) and _holds_repositories(inner) else path


def folder_of(repo: str) -> str:
    """Return the folder of a repository: ``org/name``, or ``datasets/org/name`` and the like."""
    match = _PREFIXED.fullmatch(repo)
    kind, name = (match[1], match[2]) if match else ("model", repo)
    return f"{kind}s--{name.replace('/', '--')}"


def read_repositories(tree: Tree) -> tuple[Repository, ...]:
    """Return every repository of a cache, by folder name; refs and listings are read."""
    parts: dict[str, dict[str, list[Entry]]] = {}
    for entry in tree.entries:
        folder, _, rest = entry.path.partition("/")
        if _FOLDER.fullmatch(folder):
            area = rest.partition("/")[0]
            parts.setdefault(folder, {}).setdefault(area, []).append(entry)
    return tuple(_repository(tree, folder, parts[folder]) for folder in sorted(parts))


def _holds_repositories(path: Path) -> bool:
    try:
        return any(_FOLDER.fullmatch(child.name) for child in path.iterdir())
    except OSError:
        # Reading the tree tells why.
        return False


def _repository(tree: Tree, folder: str, areas: Mapping[str, list[Entry]]) -> Repository:
    match = _FOLDER.fullmatch(folder)
    kind, name = (match[1], match[2]) if match else ("", folder)
    blobs = [entry for entry in areas.get("blobs", ()) if entry.kind in ("file", "symlink")]
    return Repository(
        folder=folder,
        kind=kind,
        name=name.replace("--", "/"),
        refs=dict(_refs(tree, folder, areas.get("refs", ()))),
        snapshots=_snapshots(tree, folder, areas.get("snapshots", ())),
        blobs={_name(e): _bytes_of(tree, e) for e in blobs if not e.path.endswith(INCOMPLETE)},
        listings=dict(_listings(tree, areas.get("trees", ()))),
        incomplete=tuple(entry for entry in blobs if entry.path.endswith(INCOMPLETE)),
        is_link=any(entry.kind == "symlink" for entry in areas.get("", ())),
    )


def _name(entry: Entry) -> str:
    return entry.path.rpartition("/")[2]


def _bytes_of(tree: Tree, entry: Entry) -> Link:
    return Link(entry.path, entry.size) if entry.kind == "file" else follow(tree, entry)


def _refs(tree: Tree, folder: str, entries: Iterable[Entry]) -> Iterable[tuple[str, str]]:
    for entry in entries:
        if entry.kind == "file":
            yield entry.path.removeprefix(f"{folder}/refs/"), _ref(tree.root / entry.path)


def _ref(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_REF).decode("utf-8", "replace").strip()
    except OSError:
        # It names no commit then, and is reported as such.
        return ""


def _snapshots(
    tree: Tree, folder: str, entries: Iterable[Entry]
) -> dict[str, tuple[SnapshotFile, ...]]:
    prefix = f"{folder}/snapshots/"
    found: dict[str, list[SnapshotFile]] = {}
    for entry in entries:
        if not entry.path.startswith(prefix):
            continue
        commit, _, path = entry.path.removeprefix(prefix).partition("/")
        if entry.kind == "dir" and not path:
            found.setdefault(commit, [])
        elif entry.kind in ("file", "symlink") and path:
            found.setdefault(commit, []).append(_snapshot_file(tree, path, entry))
    return {commit: tuple(files) for commit, files in found.items()}


def _snapshot_file(tree: Tree, path: str, entry: Entry) -> SnapshotFile:
    # The first hop names the blob; a further one leads into the store that repositories share.
    head, _, name = entry.target.rpartition("/")
    into_blobs = entry.kind == "symlink" and head.rpartition("/")[2] == "blobs"
    return SnapshotFile(path, name if into_blobs else "", entry, _bytes_of(tree, entry))


def _listings(
    tree: Tree, entries: Iterable[Entry]
) -> Iterable[tuple[str, Mapping[str, ListedFile]]]:
    for entry in entries:
        commit, dot, suffix = _name(entry).partition(".")
        if entry.kind != "file" or not is_git_id(commit) or f"{dot}{suffix}" != ".json":
            continue
        try:
            document = read_document(tree.root / entry.path, entry.path, fault="listing-invalid")
        except (HeaderError, OSError):
            # A listing only adds checks; huggingface_hub ignores one that it cannot read, too.
            continue
        yield commit, _listed(document)


def _listed(document: object) -> dict[str, ListedFile]:
    if not isinstance(document, dict) or document.get("format_version") != 1:
        return {}
    files = document.get("files")
    listed = {}
    for path, row in files.items() if isinstance(files, dict) else ():
        members = row if isinstance(row, dict) else {}
        size, git_id = members.get("size"), members.get("blob_id")
        if isinstance(size, int) and isinstance(git_id, str):
            listed[path] = ListedFile(size, git_id, str(members.get("lfs_sha256") or ""))
    return listed
