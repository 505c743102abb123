"""Fetching one source from a repository and verifying every byte; restores and drills do so."""

from __future__ import annotations

from dataclasses import dataclass

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.core.progress import Progress
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.links import links_of
from llmvault.recovery_points.model import Manifest
from llmvault.restic.output import ErrorMessage, FileDone, Message, Status
from llmvault.restic.repo import Repository, healing_locks
from llmvault.restore.model import Fetched, FetchPlan
from llmvault.restore.verify import TreeVerifier

_NAMED = 3


@dataclass(frozen=True, slots=True)
class FetchPorts:
    """What fetching works with."""

    clock: Clock
    progress: Progress


def fetch(
    ports: FetchPorts, repository: Repository, manifest: Manifest, plan: FetchPlan
) -> Fetched:
    """Restore one source and compare every name and byte with the manifest.

    What its stream builds on is restored with it; a missing link is told before anything else.
    What an earlier attempt left in the target is completed: only what differs is fetched again.

    Raises:
        VaultError: when the repository or the snapshot cannot be read at all.
        OSError: when the target cannot be written to.
    """
    record = manifest.source(plan.source)
    snapshots = (*_needed(repository, manifest, plan), (plan.snapshot, record.bytes))
    plan.target.mkdir(parents=True, exist_ok=True, mode=0o700)
    began = ports.clock.monotonic()
    ports.progress.start(plan.source, record.bytes)
    verifier = TreeVerifier(plan.target, plan.source, manifest.files.get(plan.source, ()))

    before = 0  # bytes of the snapshots that are restored already

    def heard(message: Message) -> None:
        if isinstance(message, FileDone):
            verifier.complete(message.item)
        elif isinstance(message, Status):
            ports.progress.advance(plan.source, before + message.bytes_done)

    errors: tuple[ErrorMessage, ...] = ()
    try:
        with healing_locks([repository]):
            for snapshot, size in snapshots:
                errors += repository.restore(snapshot, plan.target, on_message=heard)
                before += size
        fetched_at = ports.clock.monotonic()
        ports.progress.advance(plan.source, record.bytes)
        checks = verifier.finish()
    finally:
        verifier.cancel()
        ports.progress.finish(plan.source)
    return Fetched(
        source=plan.source,
        path=plan.target,
        files=record.files,
        bytes=record.bytes,
        fetch_seconds=fetched_at - began,
        verify_seconds=ports.clock.monotonic() - fetched_at,
        checks=(*_restic_checks(plan.source, errors), *checks),
    )


def _needed(
    repository: Repository, manifest: Manifest, plan: FetchPlan
) -> tuple[tuple[str, int], ...]:
    """Return snapshot and bytes of everything that a source's stream builds on, oldest first.

    Raises:
        UnavailableError: when one of them is not in the repository.
    """
    links = links_of(manifest.source(plan.source))
    if not links:
        return ()
    there = {snapshot.id for snapshot in repository.snapshots()}
    for link in links:
        if link.snapshots.get(repository.name, "") not in there:
            raise UnavailableError(
                f'source "{plan.source}" of {manifest.id}',
                f"its stream builds on that of {link.recovery_point}, which is not in repository "
                f'"{repository.name}" any more: without it nothing can be received',
                "choose another recovery point, or a repository that has both",
            )
    return tuple((link.snapshots[repository.name], link.size) for link in links)


def _restic_checks(source: str, errors: tuple[ErrorMessage, ...]) -> tuple[Check, ...]:
    if not errors:
        return ()
    named = "; ".join(f"{error.item.lstrip('/')}: {error.message}" for error in errors[:_NAMED])
    return (Check("restore", source, Verdict.FAILED, f"restic could not restore {named}"),)
