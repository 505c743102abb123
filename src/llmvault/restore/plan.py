"""Whether a target may be written to, and what is fetched from where. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from llmvault.core.errors import PolicyError, RefusedError, UnavailableError
from llmvault.recovery_points.model import Manifest
from llmvault.restore.model import FetchPlan, RestoreRequest, TargetFacts


def refuse_target(facts: TargetFacts) -> None:
    """Raise unless the target is fresh and touches nothing live.

    Raises:
        RefusedError: when it is not empty, no directory, or overlaps with something live.
    """
    thing = f"target {facts.path}"
    if facts.entries is not None and not facts.is_directory:
        raise RefusedError(thing, "it is not a directory", "name a new directory")
    if facts.entries:
        raise RefusedError(
            thing, f"it is not empty ({facts.entries} entries)", "name a new or empty directory"
        )
    for label, live in facts.live.items():
        if overlaps(facts.path, live):
            raise RefusedError(
                thing, f"it overlaps with {label} at {live}", "restore beside it, then swap"
            )


def overlaps(one: Path, other: Path) -> bool:
    """Whether two absolute paths are equal or one contains the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def split_address(text: str, kinds: Collection[str]) -> tuple[str, str]:
    """Return the kind of store that ``KIND:ADDRESS`` names, and the address.

    The kind is empty when none is named: then the store is of the source's own kind. A URL such as
    ``postgres://host/name`` names none.
    """
    kind, colon, address = text.partition(":")
    if colon and kind in kinds and not address.startswith("//"):
        return kind, address
    return "", text


def refuse_other_kind(manifest: Manifest, source: str, kind: str) -> None:
    """Raise when a source is to be loaded into another kind of store and cannot be.

    Raises:
        PolicyError: when it was not captured as records.
    """
    record = manifest.source(source)
    if kind in ("", record.kind) or record.observation.details.get("capture") == "records":
        return
    raise PolicyError(
        f'source "{source}" of {manifest.id}',
        f"it was captured in the own form of {record.kind} and cannot be loaded into {kind}",
        f"load it into a {record.kind}, or back it up with capture: records",
    )


def plan_fetch(
    manifest: Manifest, request: RestoreRequest, repositories: Sequence[str]
) -> tuple[FetchPlan, ...]:
    """Return what to fetch; `repositories` in order of preference.

    Raises:
        PolicyError: when a named source is not in the recovery point, or one is to be loaded into a
            store that is not to be restored.
        UnavailableError: when a source has no snapshot in any of the repositories.
    """
    known = {source.name: source for source in manifest.sources}
    unknown = (set(request.sources) | set(request.into)) - known.keys()
    if unknown:
        raise PolicyError(
            f"recovery point {manifest.id}",
            f"it has no source {', '.join(sorted(unknown))}",
            f"it has {', '.join(known)}",
        )
    chosen = tuple(dict.fromkeys(request.sources)) or tuple(known)
    left_out = request.into.keys() - set(chosen)
    if left_out:
        raise PolicyError(
            f"--into {', '.join(sorted(left_out))}",
            "the source is not among those to be restored",
            "name it with --source too",
        )
    return tuple(_fetch(manifest, name, request, repositories) for name in chosen)


def _fetch(
    manifest: Manifest, name: str, request: RestoreRequest, repositories: Sequence[str]
) -> FetchPlan:
    snapshots = manifest.source(name).snapshots
    for repository in repositories:
        if repository in snapshots:
            return FetchPlan(name, repository, snapshots[repository], request.target / name)
    raise UnavailableError(
        f'source "{name}" of {manifest.id}',
        f"it was not stored: {manifest.source(name).reason}",
        "choose another recovery point, or other sources with --source",
    )
