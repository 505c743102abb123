"""Finding recovery points again: on this host, or in a repository alone."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress

from llmvault.catalog.model import PointEntry
from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.recovery_points.manifest import FILENAME, TornManifestError, decode
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import Manifest
from llmvault.restic.errors import file_is_absent
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository

MANIFEST_TAG = "llmvault:manifest"
POINT_KEY = "llmvault:recovery-point"
PLAN_KEY = "llmvault:plan"
# a whole copy of an installation: which ledger it has, and how many of its entries
COPY_KEY = "llmvault:installation"
COPY_SIZE_KEY = "llmvault:ledger-size"

_log = logging.getLogger(__name__)


def stored_points(repository: Repository, plan: str | None = None) -> dict[str, Snapshot]:
    """Return recovery point id -> snapshot of its manifest, oldest first."""
    found = repository.snapshots(_manifest_tags(plan))
    return {snapshot.tag(POINT_KEY): snapshot for snapshot in found}


def load_manifest(repository: Repository, snapshot: Snapshot) -> Manifest:
    """Read a manifest out of a repository.

    Raises:
        TornManifestError: when it is cut short, because its backup died.
        IntegrityError: when it is altered or damaged, or is another point's.
    """
    manifest = decode(read_manifest(repository, snapshot))
    if manifest.id != snapshot.tag(POINT_KEY):
        raise IntegrityError(f"manifest {snapshot.id[:8]}", "it is of another recovery point")
    return manifest


def read_manifest(repository: Repository, snapshot: Snapshot) -> bytes:
    """Return the bytes of a manifest's file; none where its backup died before there were any."""
    try:
        with repository.read_file(snapshot.id, f"/{FILENAME}") as chunks:
            return b"".join(chunks)
    except VaultError as error:
        if not file_is_absent(error):
            raise
        # restic was given nothing: its backup died before there was a manifest
        return b""


def local_manifest(memory: Memory, recovery_point: str) -> Manifest | None:
    """Return this host's copy of a manifest; None when it has none that is whole."""
    try:
        manifest = decode(memory.manifest_path(recovery_point).read_bytes())
    except (OSError, IntegrityError):
        return None
    return manifest if manifest.id == recovery_point else None


def local_manifests(memory: Memory, known: Container[str]) -> Iterator[Manifest]:
    """Yield this host's manifests that are not among the known recovery points."""
    for path in sorted(memory.manifest_path("x").parent.glob("*.jsonl")):
        manifest = None if path.stem in known else local_manifest(memory, path.stem)
        if manifest is not None:
            yield manifest


def whole_manifests(repository: Repository, known: Container[str]) -> Iterator[Manifest]:
    """Yield the manifests in a repository that are not among the known recovery points.

    Those of backups that died are passed over.
    """
    for point, snapshot in stored_points(repository).items():
        if point in known:
            continue
        try:
            yield load_manifest(repository, snapshot)
        except TornManifestError as error:
            _log.warning("passing over %s: %s", point, error.cause)


def find_manifest(
    repositories: Iterable[Repository], recovery_point: str, *, plan: str | None = None
) -> tuple[Manifest, Repository]:
    """Return a manifest and the first repository that holds it.

    `recovery_point` is an id, or ``latest``: the newest of the plan in the first repository that
    can be read. Manifests of backups that died are passed over; a damaged one is not, since an
    older recovery point in its place would be a surprise.

    Raises:
        UnavailableError: when no repository could be read, or none has it.
    """
    causes: list[str] = []
    for repository in repositories:
        try:
            found = _find_in(repository, recovery_point, plan, causes)
        except VaultError as error:
            causes.append(f"{error.thing}: {error.cause}")
            continue
        if found is not None:
            return found, repository
    raise UnavailableError(
        f"recovery point {recovery_point}",
        "; ".join(causes) or "no repository has it",
        "list what there is: llmvault recovery-points list",
    )


def _find_in(
    repository: Repository, recovery_point: str, plan: str | None, causes: list[str]
) -> Manifest | None:
    if recovery_point == "latest":
        with suppress(VaultError):
            return _latest(repository, plan)
    points = stored_points(repository, plan)
    latest = tuple(reversed(points.values())) if recovery_point == "latest" else ()
    for snapshot in latest or filter(None, [points.get(recovery_point)]):
        try:
            return load_manifest(repository, snapshot)
        except TornManifestError as error:
            causes.append(f"{snapshot.tag(POINT_KEY)}: {error.cause}")
            _log.warning("passing over %s: %s", snapshot.tag(POINT_KEY), error.cause)
    return None


def _latest(repository: Repository, plan: str | None) -> Manifest:
    """Read the newest manifest in one call; opening a repository takes restic half a second."""
    with repository.read_file("latest", f"/{FILENAME}", tags=_manifest_tags(plan)) as chunks:
        data = b"".join(chunks)
    return decode(data)


def _manifest_tags(plan: str | None) -> tuple[str, ...]:
    return (MANIFEST_TAG, f"{PLAN_KEY}={plan}") if plan else (MANIFEST_TAG,)


def entry_of(manifest: Manifest) -> PointEntry:
    """Return how the catalog lists a recovery point."""
    return PointEntry(
        id=manifest.id,
        plan=manifest.plan,
        host=manifest.host,
        started=manifest.started,
        finished=manifest.finished,
        verdict=manifest.verdict.value,
        files=sum(source.files for source in manifest.sources),
        bytes=sum(source.bytes for source in manifest.sources),
        sources=tuple(_source_row(manifest, source.name) for source in manifest.sources),
    )


def _source_row(manifest: Manifest, name: str) -> Mapping[str, object]:
    source = manifest.source(name)
    return {
        "name": source.name,
        "kind": source.kind,
        "verdict": source.verdict.value,
        "reason": source.reason,
        "files": source.files,
        "bytes": source.bytes,
        "snapshots": dict(source.snapshots),
    }
