"""Filling a second repository from the first, with restic's own copy."""

from __future__ import annotations

from dataclasses import dataclass

from llmvault.core.errors import RefusedError
from llmvault.core.verdict import Verdict
from llmvault.ledger.interface import Ledger
from llmvault.recovery_points.find import MANIFEST_TAG, POINT_KEY
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy holds of its original.

    Attributes:
        copied: snapshots that came over in this run.
        missing: snapshots of the original that it does not hold.
        newest: the newest recovery point that it holds; empty without any.
    """

    repository: str
    original: str
    verdict: Verdict
    copied: int
    missing: tuple[str, ...]
    newest: str


def make_copy(original: Repository, copy: Repository, ledger: Ledger) -> CopyResult:
    """Copy every snapshot that is not there yet, and compare the two lists afterwards.

    Raises:
        RefusedError: when the two cut files differently: nothing would be shared.
        VaultError: when one of them cannot be reached.
    """
    if original.chunker() != copy.chunker():
        raise RefusedError(
            f'repository "{copy.name}"',
            f'it cuts files in other places than "{original.name}", so nothing would be shared',
            "make it anew with llmvault init, which takes the parameters over",
        )
    before = {one.origin for one in copy.snapshots()}
    facts = {"repository": copy.name, "original": original.name}
    ledger.append("copy.started", facts)
    try:
        copy.copy_from(original)
    finally:
        held = copy.snapshots()
        missing = _missing(original.snapshots(), held)
        newest = _newest_point(held)
        told = {"snapshots": len(held), "missing": len(missing), "newest": newest}
        ledger.append("copy.done", {**facts, **told})
    return CopyResult(
        copy.name,
        original.name,
        Verdict.UNPROVEN if missing or not held else Verdict.PROVEN,
        len({one.origin for one in held} - before),
        missing,
        newest,
    )


def _newest_point(held: tuple[Snapshot, ...]) -> str:
    manifests = (one for one in reversed(held) if MANIFEST_TAG in one.tags)
    return next((one.tag(POINT_KEY) for one in manifests), "")


def _missing(originals: tuple[Snapshot, ...], held: tuple[Snapshot, ...]) -> tuple[str, ...]:
    there = {one.origin for one in held}
    return tuple(one.id for one in originals if one.origin not in there)
