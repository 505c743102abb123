"""Which recovery point is drilled, and how old the newest one is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.find import load_manifest, stored_points
from llmvault.recovery_points.manifest import TornManifestError
from llmvault.recovery_points.model import Manifest
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """A recovery point to drill.

    Attributes:
        newest: when the newest recovery point of the plan was begun; None when it cannot be read.
        checks: what was noticed on the way.
    """

    manifest: Manifest
    newest: datetime | None
    checks: tuple[Check, ...]


def find_point(
    repository: Repository, plan: str, wanted: str, *, choose: Callable[[int], int]
) -> FoundPoint:
    """Return the recovery point to drill. Manifests of backups that died are passed over.

    Args:
        wanted: ``latest``, ``random`` or an id.
        choose: draws a number below the given one.

    Raises:
        UnavailableError: when there is none.
        IntegrityError: when its manifest is damaged, or the newest is and no id was given.
    """
    points = stored_points(repository, plan)
    try:
        newest = _newest(repository, points)
    except IntegrityError as error:
        if wanted not in points:
            raise
        check = Check("newest-point", "", Verdict.FAILED, error.diagnostics())
        return FoundPoint(load_manifest(repository, points[wanted]), None, (check,))
    if wanted in ("latest", newest.id):
        found = newest
    elif wanted == "random":
        found = _random(repository, points, choose)
    else:
        found = _named(repository, points, wanted)
    return FoundPoint(found, newest.started, ())


def _newest(repository: Repository, points: Mapping[str, Snapshot]) -> Manifest:
    for point in reversed(tuple(points)):
        try:
            return load_manifest(repository, points[point])
        except TornManifestError as error:
            _log.warning("passing over %s: %s", point, error.cause)
    raise UnavailableError(
        "recovery points",
        f'repository "{repository.name}" holds no whole one of this plan',
        "run: llmvault backup",
    )


def _random(
    repository: Repository, points: Mapping[str, Snapshot], choose: Callable[[int], int]
) -> Manifest:
    left = list(points.values())
    while True:  # it ends, as the newest whole one is among them
        try:
            return load_manifest(repository, left.pop(choose(len(left))))
        except TornManifestError as error:
            _log.warning("drawing again: %s", error)


def _named(repository: Repository, points: Mapping[str, Snapshot], point: str) -> Manifest:
    if point not in points:
        raise UnavailableError(
            f"recovery point {point}",
            f'repository "{repository.name}" has none of this id for the plan',
            "list what there is: llmvault recovery-points list",
        )
    return load_manifest(repository, points[point])
