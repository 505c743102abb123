"""What lies in a snapshot repository of files, read without a server.

``index.latest`` (8 bytes, big endian) names the newest ``index-N``, a JSON document that lists
snapshots and their indices; ``snap-UUID.dat`` and ``meta-UUID.dat`` belong to a snapshot,
``indices/ID/SHARD/snap-UUID.dat`` to one shard of it. As the package documentation of
``org.elasticsearch.repositories.blobstore`` describes it; OpenSearch has kept it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.core.errors import IntegrityError
from llmvault.sources.formats.documents import read_document

_SUCCESS = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of ours, as the repository itself lists it.

    Attributes:
        version: of the server that made it; empty when the list does not tell.
        cluster: uuid of the cluster that wrote the repository; empty when the list does not tell.
        indices: names of the indices in it.
    """

    name: str
    uuid: str
    version: str
    cluster: str
    indices: tuple[str, ...]


def read_taken(root: Path, prefix: str) -> Taken:
    """Return the newest snapshot of a repository whose name begins with a prefix.

    Raises:
        IntegrityError: when there is none, or the list cannot be read.
    """
    try:
        listing = _listing(root)
    except OSError as error:
        raise IntegrityError(
            f"snapshot repository {root}", f"its list cannot be read: {error}"
        ) from error
    ours = [one for one in listing["snapshots"] if str(one.get("name")).startswith(prefix)]
    if not ours:
        raise IntegrityError(f"snapshot repository {root}", f"no snapshot {prefix}… is in its list")
    newest = max(ours, key=lambda one: str(one["name"]))
    uuid = str(newest.get("uuid"))
    held = listing.get("indices") or {}
    return Taken(
        name=str(newest["name"]),
        uuid=uuid,
        version=str(newest.get("version") or ""),
        cluster=str(listing.get("cluster_id") or ""),
        indices=tuple(sorted(name for name in held if uuid in held[name].get("snapshots", ()))),
    )


def repository_problem(root: Path, snapshot: str, indices: Mapping[str, int]) -> str:
    """Return what is wrong with a snapshot in a repository; empty when all its parts are there.

    Args:
        root: the repository.
        snapshot: uuid of the snapshot.
        indices: name -> number of shards of every index that it must hold.
    """
    try:
        listing = _listing(root)
    except (OSError, IntegrityError) as error:
        return f"its list of snapshots cannot be read: {error}"
    return next(_problems(root, listing, snapshot, indices), "")


def _listing(root: Path) -> Mapping[str, Any]:
    latest = int.from_bytes((root / "index.latest").read_bytes()[:8], "big")
    name = f"index-{latest}"
    document = read_document(root / name, name, fault="listing-invalid")
    if not isinstance(document, dict) or not isinstance(document.get("snapshots"), list):
        raise IntegrityError(name, "it lists no snapshots")
    return document


def _problems(
    root: Path, listing: Mapping[str, Any], snapshot: str, indices: Mapping[str, int]
) -> Iterator[str]:
    states = {one.get("uuid"): one.get("state") for one in listing["snapshots"]}
    if states.get(snapshot) != _SUCCESS:
        yield f"the snapshot {snapshot} is not in its list, or not complete there"
    for name in (f"snap-{snapshot}.dat", f"meta-{snapshot}.dat"):
        if not (root / name).is_file():
            yield f"{name} is not there"
    listed = listing.get("indices") or {}
    for name, shards in indices.items():
        entry = listed.get(name) or {}
        if snapshot not in (entry.get("snapshots") or ()):
            yield f"index {name} is not in the snapshot"
            continue
        for shard in range(shards):
            place = root / "indices" / str(entry.get("id")) / str(shard)
            if not (place / f"snap-{snapshot}.dat").is_file():
                yield f"shard {shard} of index {name} is not there"
