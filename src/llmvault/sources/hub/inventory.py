"""What is recorded of a Hugging Face cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmvault.sources.formats.git_blob import is_sha256
from llmvault.sources.formats.names import printable
from llmvault.sources.hub.layout import Repository
from llmvault.sources.hub.resolve import Pinned
from llmvault.sources.hub.weights import HubWeights


def claimed_digests(repositories: Iterable[Repository]) -> dict[str, str]:
    """Return path -> SHA-256 for every file whose name or listing states it."""
    claims = {}
    for repository in repositories:
        for name, link in repository.blobs.items():
            if is_sha256(name) and not link.problem:
                claims[link.path] = name
        for commit, files in repository.snapshots.items():
            listing = repository.listings.get(commit, {})
            for file in files:
                listed = listing.get(file.path)
                if not file.blob and listed and is_sha256(listed.sha256) and file.link.path:
                    claims.setdefault(file.link.path, listed.sha256)
    return claims


def details_of(
    repositories: Iterable[Repository], pinned: Iterable[Pinned], weights: HubWeights
) -> dict[str, Any]:
    """Return what the manifest keeps of a cache, as JSON values."""
    return {
        "repositories": {printable(r.folder): inventory_of(r) for r in repositories},
        "pinned": [{"repo": p.repo, "revision": p.revision, "commit": p.commit} for p in pinned],
        "weights": weights.summaries,
        "indexes": weights.indexes,
    }


def inventory_of(repository: Repository) -> dict[str, Any]:
    """Return refs, and for every sound file of every snapshot its blob and size."""
    return {
        "kind": repository.kind,
        "name": printable(repository.name),
        "refs": {printable(ref): printable(c) for ref, c in sorted(repository.refs.items())},
        "snapshots": {
            printable(commit): {
                printable(file.path): {"blob": printable(file.blob), "size": file.link.size}
                for file in files
                if not file.link.problem
            }
            for commit, files in sorted(repository.snapshots.items())
        },
    }
