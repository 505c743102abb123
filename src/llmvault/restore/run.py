"""Restoring: the only thing that the command line calls."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import cast

from llmvault.catalog.model import RestoreEntry
from llmvault.core.clock import Clock
from llmvault.core.errors import PolicyError, RefusedError, UnavailableError, VaultError
from llmvault.core.ids import Ids
from llmvault.core.progress import Progress
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.ledger.interface import Ledger
from llmvault.ledger.recorded import recorded
from llmvault.recovery_points.copies import with_copies
from llmvault.recovery_points.find import find_manifest, local_manifest
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import Manifest
from llmvault.restic.repo import Repository
from llmvault.restore.compare import compare_collections
from llmvault.restore.fetch import FetchPorts, fetch
from llmvault.restore.model import Fetched, FetchPlan, RestoreRequest, RestoreResult, TargetFacts
from llmvault.restore.plan import plan_fetch, refuse_other_kind, refuse_target, split_address
from llmvault.restore.records import Stores, load_records
from llmvault.sources.interface import (
    ImportsRecords,
    Loads,
    Observation,
    Source,
    TellsByHand,
)
from llmvault.sources.records.layout import is_capture


@dataclass(frozen=True, slots=True)
class RestorePorts:
    """What a restore works with.

    Attributes:
        repositories: in order of preference.
        sources: drivers of the policy's sources; one that the policy no longer has is restored as
            files, without the driver's own checks.
        live: label -> path of everything that must not be touched.
        stores: what makes stores out of records.
        copies: copy -> original, of repositories that were filled by restic's copy.
    """

    clock: Clock
    ids: Ids
    repositories: Mapping[str, Repository]
    sources: Mapping[str, Source]
    live: Mapping[str, Path]
    memory: Memory
    progress: Progress
    stores: Stores
    ledger: Ledger
    copies: Mapping[str, str] = field(default_factory=dict)


def observe_target(target: Path, live: Mapping[str, Path]) -> TargetFacts:
    """Look at the place to restore to."""
    resolved = target.resolve()
    known = {label: path.resolve() for label, path in live.items()}
    try:
        return TargetFacts(resolved, True, len(list(resolved.iterdir())), known)
    except FileNotFoundError:
        return TargetFacts(resolved, True, None, known)
    except NotADirectoryError:
        return TargetFacts(resolved, False, 1, known)
    except OSError as error:
        raise _unwritable(resolved, error) from error


def decide(ports: RestorePorts, request: RestoreRequest) -> tuple[Manifest, tuple[FetchPlan, ...]]:
    """Return what a restore would fetch from where, without touching the target.

    Raises:
        VaultError: when the target is refused or the recovery point cannot be had.
    """
    refuse_target(observe_target(request.target, ports.live))
    manifest, order = _find(ports, request)
    manifest = with_copies(manifest, ports.repositories, ports.copies)
    resolved = replace(request, target=request.target.resolve())
    plans = plan_fetch(manifest, resolved, order)
    for name, address in request.into.items():
        kind, _ = split_address(address, ports.stores.kinds)
        refuse_other_kind(manifest, name, kind)
        if kind == "" and not isinstance(ports.sources.get(name), Loads):
            raise PolicyError(
                f'source "{name}"',
                "it cannot be loaded into a store by llmvault",
                "restore its files with --target alone, or name a kind: KIND:ADDRESS",
            )
    return manifest, plans


def _find(ports: RestorePorts, request: RestoreRequest) -> tuple[Manifest, tuple[str, ...]]:
    """Return the manifest, and the repositories in the order in which they are asked for files.

    This host's own copy of a manifest that is asked for by id saves opening a repository for it.
    """
    known = local_manifest(ports.memory, request.recovery_point)
    if known is not None:
        return known, tuple(ports.repositories)
    manifest, found_in = find_manifest(
        ports.repositories.values(), request.recovery_point, plan=request.plan
    )
    others = (name for name in ports.repositories if name != found_in.name)
    return manifest, (found_in.name, *others)


def run_restore(ports: RestorePorts, request: RestoreRequest) -> RestoreResult:
    """Bring a recovery point back into a fresh directory and verify it.

    Raises:
        RefusedError: when the target is not fresh or touches something live.
        UnavailableError: when the recovery point cannot be had, or the disk is full.
    """
    began, now = ports.clock.monotonic(), ports.clock.now()
    manifest, plans = decide(ports, request)
    id_ = ports.ids.new("restore", now)
    facts = {
        "restore": id_,
        "recovery_point": manifest.id,
        "plan": manifest.plan,
        "sources": [plan.source for plan in plans],
    }
    with recorded(ports.ledger, "restore", facts) as end:
        result = _restore(ports, request, manifest, plans, id_, began)
        end |= {
            "verdict": result.verdict.value,
            "files": sum(one.files for one in result.fetched),
            "bytes": sum(one.bytes for one in result.fetched),
            "seconds": result.seconds,
        }
    return result


def _restore(
    ports: RestorePorts,
    request: RestoreRequest,
    manifest: Manifest,
    plans: tuple[FetchPlan, ...],
    id_: str,
    began: float,
) -> RestoreResult:
    _make_target(request.target)
    fetched = tuple(_fetch_anywhere(ports, manifest, plan) for plan in plans)
    checks = tuple(
        check for one in fetched for check in (*one.checks, *_own_checks(ports, manifest, one))
    )
    loaded = (_load(ports, manifest, one, request) for one in fetched if one.source in request.into)
    checks = (*checks, *(check for found in loaded for check in found))
    return RestoreResult(
        id=id_,
        recovery_point=manifest.id,
        target=request.target,
        verdict=combine(check.verdict for check in checks),
        fetched=fetched,
        checks=checks,
        seconds=round(ports.clock.monotonic() - began, 3),
    )


def _make_target(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(target, error) from error


def _fetch_anywhere(ports: RestorePorts, manifest: Manifest, plan: FetchPlan) -> Fetched:
    """Fetch from the preferred repository, and what is damaged there from the others."""
    snapshots = manifest.source(plan.source).snapshots
    names = [plan.repository, *(n for n in ports.repositories if n != plan.repository)]
    fetched: Fetched | None = None
    trouble: VaultError | None = None
    for name in (name for name in names if name in snapshots):
        chosen = replace(plan, repository=name, snapshot=snapshots[name])
        try:
            fetched = _fetch_one(ports, manifest, chosen)
        except VaultError as error:
            trouble = trouble or error
            continue
        except OSError as error:
            raise _unwritable(plan.target, error) from error
        if combine(check.verdict for check in fetched.checks) is Verdict.PROVEN:
            break
    if fetched is None:
        raise trouble or UnavailableError(f'source "{plan.source}"', "no repository holds it")
    return fetched


def _fetch_one(ports: RestorePorts, manifest: Manifest, plan: FetchPlan) -> Fetched:
    repository = ports.repositories[plan.repository]
    return fetch(FetchPorts(ports.clock, ports.progress), repository, manifest, plan)


def _unwritable(target: Path, error: OSError) -> UnavailableError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    step = "free space and restore again" if full else "look at the target's permissions"
    return UnavailableError(f"target {target}", error.strerror or str(error), step)


def _own_checks(ports: RestorePorts, manifest: Manifest, fetched: Fetched) -> tuple[Check, ...]:
    source = ports.sources.get(fetched.source)
    if source is None:
        return ()
    recorded = manifest.source(fetched.source).observation
    checks = source.check(fetched.path, recorded)
    if isinstance(source, TellsByHand) and combine(c.verdict for c in checks) is Verdict.PROVEN:
        _tell_by_hand(source, fetched, recorded)
    return checks


def _tell_by_hand(source: TellsByHand, fetched: Fetched, recorded: Observation) -> None:
    """Write beside the restored directory what to do with it without llmvault."""
    path = fetched.path.with_name(f"{fetched.source}.README")
    try:
        path.write_text(source.by_hand(fetched.path, recorded), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def _load(
    ports: RestorePorts, manifest: Manifest, fetched: Fetched, request: RestoreRequest
) -> tuple[Check, ...]:
    kind, address = split_address(request.into[fetched.source], ports.stores.kinds)
    recorded = manifest.source(fetched.source).observation
    source = ports.sources.get(fetched.source)
    if is_capture(fetched.path):
        own = isinstance(source, ImportsRecords) and kind in ("", source.kind)
        importer = cast(ImportsRecords, source) if own else ports.stores.importer(kind)
        return load_records(ports.stores, importer, manifest, fetched, address)
    if not isinstance(source, Loads):
        raise RefusedError(f'source "{fetched.source}"', "it cannot be loaded into a store")
    found = source.load(fetched.path, address)
    return (compare_collections(fetched.source, recorded.collections, found),)


def restore_entry(result: RestoreResult, started: datetime) -> RestoreEntry:
    """Return how the catalog lists a restore."""
    return RestoreEntry(
        id=result.id,
        recovery_point=result.recovery_point,
        started=started,
        target=str(result.target),
        verdict=result.verdict.value,
        sources=tuple(
            {"name": one.source, "files": one.files, "bytes": one.bytes} for one in result.fetched
        ),
    )
