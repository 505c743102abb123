"""Lay a model folder out as huggingface_hub's cache does, without the Hub.

    <hub>/CACHEDIR.TAG
    <hub>/models--ORG--NAME/blobs/<sha256 of an LFS file, or git blob id of any other>
    <hub>/models--ORG--NAME/refs/main                          the commit
    <hub>/models--ORG--NAME/snapshots/<commit>/<path>          -> ../../blobs/...
    <hub>/models--ORG--NAME/trees/<commit>.json                the listing (huggingface_hub >= 2)

As on the Hub, the repository's own `.gitattributes` says which files are in LFS, and git sees a
pointer file in their place. The commit is a real git commit of that tree with a fixed author and
date, so equal files give the same commit on every machine.
"""

import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag.\n"
    "# Backup programs that honour it skip everything beside it.\n"
)
_SIGNATURE = "llmvault example <example@llmvault.invalid> 0 +0000"
_MESSAGE = "Files of the example deployment's embedding model\n"

Tree: TypeAlias = "dict[str, HubFile | Tree]"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of the repository as the Hub lists it; `sha256` only for files in LFS."""

    source: Path
    size: int
    git_id: str
    sha256: str | None

    @property
    def blob_name(self) -> str:
        """The file's name under `blobs/`."""
        return self.sha256 or self.git_id


def repository_folder(hub: Path, repo_id: str) -> Path:
    """Return where the cache keeps the model repository `repo_id`."""
    return hub / f"models--{repo_id.replace('/', '--')}"


def list_files(folder: Path) -> dict[str, HubFile]:
    """Describe every file below `folder` by its relative path, hashing each one."""
    attributes = folder / ".gitattributes"
    patterns = _lfs_patterns(attributes.read_text()) if attributes.exists() else []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): _describe(path, patterns)
        for path in files
        if "__pycache__" not in path.parts
    }


def commit_id(files: Mapping[str, HubFile]) -> str:
    """Return the git commit whose tree holds exactly these files."""
    body = f"tree {_tree_id(_nest(files))}\nauthor {_SIGNATURE}\ncommitter {_SIGNATURE}\n\n"
    return _git_id("commit", (body + _MESSAGE).encode())


def write(hub: Path, repo_id: str, files: Mapping[str, HubFile]) -> str:
    """Write whatever of the repository is missing below `hub`; return the commit."""
    commit = commit_id(files)
    repository = repository_folder(hub, repo_id)
    for part in ("blobs", "refs", "trees"):
        (repository / part).mkdir(parents=True, exist_ok=True)
    for path, file in files.items():
        _write_blob(repository / "blobs" / file.blob_name, file)
        _link(repository / "snapshots" / commit, path, file)
    (repository / "trees" / f"{commit}.json").write_text(_listing(files))
    (repository / "refs" / "main").write_text(commit)
    (hub / "CACHEDIR.TAG").write_text(CACHEDIR_TAG)
    return commit


def is_complete(hub: Path, repo_id: str, files: Mapping[str, HubFile]) -> bool:
    """Return whether `hub` holds every file in its size, and `main` refers to their commit."""
    commit = commit_id(files)
    repository = repository_folder(hub, repo_id)
    snapshot = repository / "snapshots" / commit
    main = repository / "refs" / "main"
    return (
        (hub / "CACHEDIR.TAG").exists()
        and (repository / "trees" / f"{commit}.json").exists()
        and main.exists()
        and main.read_text() == commit
        and all(_has_size(snapshot / path, file.size) for path, file in files.items())
    )


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _lfs_patterns(attributes: str) -> list[str]:
    lines = (line.split() for line in attributes.splitlines())
    return [words[0] for words in lines if "filter=lfs" in words]


def _describe(path: Path, patterns: list[str]) -> HubFile:
    content = path.read_bytes()
    if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns):
        return HubFile(path, len(content), _git_id("blob", content), None)
    digest = hashlib.sha256(content).hexdigest()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    )
    return HubFile(path, len(content), _git_id("blob", pointer.encode()), digest)


def _git_id(kind: str, content: bytes) -> str:
    header = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _nest(files: Mapping[str, HubFile]) -> Tree:
    root: Tree = {}
    for path, file in files.items():
        *folders, name = path.split("/")
        tree = root
        for folder in folders:
            child = tree.setdefault(folder, {})
            assert isinstance(child, dict), f"{folder} is both a file and a folder"
            tree = child
        tree[name] = file
    return root


def _tree_id(tree: Tree) -> str:
    entries: list[tuple[bytes, bytes]] = []
    for name, child in tree.items():
        folder = isinstance(child, dict)
        mode = b"40000" if folder else b"100644"
        child_id = _tree_id(child) if isinstance(child, dict) else child.git_id
        # git sorts a folder as if its name ended with a slash
        key = name.encode() + (b"/" if folder else b"")
        entries.append((key, mode + b" " + name.encode() + b"\0" + bytes.fromhex(child_id)))
    return _git_id("tree", b"".join(entry for _, entry in sorted(entries)))


def _write_blob(blob: Path, file: HubFile) -> None:
    if _has_size(blob, file.size):
        return
    partial = blob.with_name(f"{blob.name}.incomplete")
    shutil.copyfile(file.source, partial)
    partial.replace(blob)


def _link(snapshot: Path, path: str, file: HubFile) -> None:
    link = snapshot / path
    link.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(snapshot.parents[1] / "blobs" / file.blob_name, link.parent)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _listing(files: Mapping[str, HubFile]) -> str:
    return json.dumps({"format_version": 1, "files": {k: _row(v) for k, v in files.items()}})


def _row(file: HubFile) -> dict[str, str | int]:
    row: dict[str, str | int] = {"size": file.size, "blob_id": file.git_id}
    if file.sha256 is not None:
        row |= {"lfs_sha256": file.sha256, "lfs_size": file.size}
    return row
