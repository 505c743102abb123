"""What is wrong with the repositories of a Hugging Face cache.

What a needed snapshot lacks is a failure; the same in a snapshot that nobody asked for is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.units import format_size
from llmvault.sources.formats.git_blob import git_blob_id, is_git_id, is_sha256
from llmvault.sources.formats.names import printable, short_text
from llmvault.sources.hub.layout import LOCKS, ListedFile, Repository, SnapshotFile
from llmvault.sources.interface import Finding
from llmvault.sources.walk import Tree, link_cause, unreadable_finding

# Files beyond 10 MB go to LFS on the Hub; a larger one under a git id is left to the drill.
_MAX_GIT_HASHED = 64 << 20


@dataclass(frozen=True, slots=True)
class Need:
    """Which snapshots must be whole: (folder, commit); all of them when None."""

    snapshots: Collection[tuple[str, str]] | None

    def severity(self, folder: str, commit: str) -> str:
        """Return how grave a fault of a snapshot is."""
        needed = self.snapshots is None or (folder, commit) in self.snapshots
        return "failed" if needed else "warning"


@dataclass(frozen=True, slots=True)
class BlobHashes:
    """Small blobs that were compared with the git object id in their names.

    Attributes:
        good: paths whose content has that id.
        bad: path -> the id that its content has.
        unread: path -> what kept it from being read.
    """

    good: frozenset[str]
    bad: Mapping[str, str]
    unread: Mapping[str, OSError]


def hash_small_blobs(root: Path, repositories: Iterable[Repository]) -> BlobHashes:
    """Read every blob that is named by its git object id, and compare."""
    good: set[str] = set()
    bad: dict[str, str] = {}
    unread: dict[str, OSError] = {}
    for repository in repositories:
        for name, link in repository.blobs.items():
            if link.problem or not is_git_id(name) or link.size > _MAX_GIT_HASHED:
                continue
            path = f"{repository.folder}/blobs/{name}"
            try:
                found = git_blob_id(root / link.path)
            except OSError as error:
                unread[path] = error
                continue
            if found == name:
                good.add(path)
            else:
                bad[path] = found
    return BlobHashes(frozenset(good), bad, unread)


def judge(
    tree: Tree, repositories: Iterable[Repository], hashes: BlobHashes, need: Need
) -> Iterator[Finding]:
    """Yield everything that is wrong with the repositories, except with their weights."""
    for repository in repositories:
        place = printable(repository.folder)
        if repository.is_link:
            detail = "the folder is a symbolic link: only the link would be stored"
            yield Finding("link-outside", place, detail, _gravest(repository, need))
        elif not repository.snapshots:
            yield Finding("repository-empty", place, "it has no snapshot", "warning")
        for commit in sorted(repository.snapshots):
            yield from _judge_snapshot(repository, commit, need.severity(repository.folder, commit))
        yield from _judge_refs(repository)
        yield from _judge_blobs(repository, hashes, need)
        yield from _judge_downloads(repository)
    yield from _judge_locks(tree)


def _judge_snapshot(repository: Repository, commit: str, severity: str) -> Iterator[Finding]:
    files = repository.snapshots[commit]
    place = printable(f"{repository.folder}/snapshots/{commit}")
    if not files:
        yield Finding("snapshot-empty", place, "it holds no file", severity)
    for file in files:
        if file.link.problem:
            dangling = file.link.problem in ("dangling", "loop")
            name = "dangling-link" if dangling else "link-outside"
            cause = link_cause(file.entry, file.link)
            yield Finding(name, printable(file.entry.path), cause, severity)
    listing = repository.listings.get(commit)
    if listing:
        yield from _compare_with_listing(place, files, listing, severity)


def _compare_with_listing(
    place: str,
    files: tuple[SnapshotFile, ...],
    listing: Mapping[str, ListedFile],
    severity: str,
) -> Iterator[Finding]:
    for file in files:
        listed = listing.get(file.path)
        if listed is None or file.link.problem:
            continue
        path = printable(file.entry.path)
        if file.blob and file.blob != listed.blob_name:
            expected = short_text(listed.blob_name)
            detail = f"it links to {printable(file.blob)}, the listing says {expected}"
            yield Finding("snapshot-differs", path, detail, severity)
        elif file.link.size != listed.size:
            detail = f"it has {file.link.size:,} bytes, the listing says {listed.size:,}"
            yield Finding("blob-size", path, detail, severity)
    absent = sorted(listing.keys() - {file.path for file in files})
    if absent:
        detail = f"{len(absent)} of the commit's {len(listing)} files were never downloaded"
        shown = printable(absent[0])
        yield Finding("snapshot-partial", place, f"{detail}, e.g. {shown}", "warning")


def _judge_refs(repository: Repository) -> Iterator[Finding]:
    for ref, commit in sorted(repository.refs.items()):
        if commit not in repository.snapshots:
            path = printable(f"{repository.folder}/refs/{ref}")
            detail = f"it names commit {printable(commit) or '(none)'}, which has no snapshot"
            yield Finding("ref-dangling", path, detail, "warning")


def _judge_blobs(repository: Repository, hashes: BlobHashes, need: Need) -> Iterator[Finding]:
    users = _users(repository, need)
    unused = []
    for name, link in sorted(repository.blobs.items()):
        path = f"{repository.folder}/blobs/{name}"
        shown = printable(path)
        severity = users.get(name, "warning")
        if path in hashes.bad:
            detail = f"its content has the git object id {hashes.bad[path]}: it is not what it was"
            yield Finding("blob-corrupt", shown, detail, severity)
        elif path in hashes.unread:
            yield unreadable_finding(path, hashes.unread[path])
        elif link.problem and name not in users:
            yield Finding("dangling-link", shown, "no content is behind it", "warning")
        elif not link.problem and path not in hashes.good and not is_sha256(name):
            detail = "its name is no digest that can be checked here; the backup digests its bytes"
            yield Finding("blob-unchecked", shown, detail, "warning")
        if name not in users and not link.problem:
            unused.append(link.size)
    if unused:
        detail = f"{len(unused)} blobs of {format_size(sum(unused))} belong to no snapshot"
        yield Finding("unused-blobs", printable(repository.folder), detail, "warning")


def _users(repository: Repository, need: Need) -> dict[str, str]:
    """Return blob -> how grave its loss is: the gravest of the snapshots that use it."""
    users: dict[str, str] = {}
    for commit, files in repository.snapshots.items():
        severity = need.severity(repository.folder, commit)
        for file in files:
            if file.blob and users.get(file.blob) != "failed":
                users[file.blob] = severity
    return users


def _gravest(repository: Repository, need: Need) -> str:
    needed = need.snapshots is None or repository.folder in {folder for folder, _ in need.snapshots}
    return "failed" if needed else "warning"


def _judge_downloads(repository: Repository) -> Iterator[Finding]:
    if repository.incomplete:
        size = format_size(sum(entry.size for entry in repository.incomplete))
        detail = f"{len(repository.incomplete)} unfinished downloads of {size} are left out"
        yield Finding(
            "incomplete-download", printable(f"{repository.folder}/blobs"), detail, "warning"
        )


def _judge_locks(tree: Tree) -> Iterator[Finding]:
    locks = [e for e in tree.entries if e.path.startswith(f"{LOCKS}/") and e.kind == "file"]
    if locks:
        detail = f"{len(locks)} lock files of downloads, running or ended, are left out"
        yield Finding("lock-files", LOCKS, detail, "warning")
