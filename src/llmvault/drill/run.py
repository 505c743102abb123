"""Drilling: the only thing that the command line and the scheduler call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DrillEntry
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, RefusedError, VaultError
from llmvault.core.ids import Ids
from llmvault.core.progress import Progress
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.drill.apply import ApplyPorts, DrillRun, Proceedings
from llmvault.drill.golden import GoldenSet
from llmvault.drill.golden_store import keep_goldens, load_goldens
from llmvault.drill.hosts.interface import ScratchHost
from llmvault.drill.model import DrillResult, Objective
from llmvault.drill.plan import (
    DrillRequest,
    age_seconds,
    clock_check,
    point_check,
    rpo_check,
    rto_check,
    space_check,
    stored_sources,
)
from llmvault.drill.points import find_point
from llmvault.drill.report import write_report
from llmvault.drill.wiring import Wiring
from llmvault.ledger.interface import Ledger
from llmvault.ledger.recorded import recorded
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import Manifest
from llmvault.restic.repo import Repository
from llmvault.restore.model import RestoreRequest
from llmvault.restore.plan import plan_fetch


@dataclass(frozen=True, slots=True)
class DrillPorts:
    """What a drill works with.

    Attributes:
        repositories: of the plan, in order of preference; the first is drilled.
        history: drills of the plan so far, newest first.
        record: keeps this drill in the catalog.
        scratch_free_factor: free scratch space demanded, as a multiple of the bytes to restore.
        storage: tries to tamper with where the recovery points are kept.
        ledger: where the drill is written down.
    """

    clock: Clock
    ids: Ids
    host: ScratchHost
    memory: Memory
    repositories: Mapping[str, Repository]
    wiring: Wiring
    progress: Progress
    versions: Mapping[str, str]
    policy_digest: str
    rto_seconds: float
    rpo_seconds: float
    scratch_free_factor: float
    history: Callable[[], Sequence[DrillEntry]]
    record: Callable[[DrillEntry], None]
    ledger: Ledger
    storage: Callable[[], Sequence[Check]] = tuple


@dataclass(slots=True)
class _Case:
    """One drill while it runs."""

    id: str
    started: datetime
    began: float
    point: str
    manifest: Manifest | None = None
    newest: datetime | None = None


def run_drill(ports: DrillPorts, request: DrillRequest) -> DrillResult:
    """Restore a recovery point onto the scratch host, make it answer, and tell what was proven.

    A drill that cannot run is a result too: unproven, with the reason, kept and reported.

    Raises:
        UnavailableError: when another drill of the plan runs.
        RefusedError: when the scratch directory touches something live.
    """
    with ports.memory.exclusive(f"drill-{request.plan}"):
        now = ports.clock.now()
        case = _Case(
            ports.ids.new("drill", now), now, ports.clock.monotonic(), request.recovery_point
        )
        facts = {"drill": case.id, "plan": request.plan, "asked": request.recovery_point}
        with recorded(ports.ledger, "drill", facts) as end:
            result = _carry_out(ports, request, case)
            end |= _ledger_facts(result)
        return result


def _carry_out(ports: DrillPorts, request: DrillRequest, case: _Case) -> DrillResult:
    done = Proceedings()
    _sweep(ports, done)
    try:
        _drill(ports, request, case, done)
    except RefusedError:
        raise
    except VaultError as error:
        done.checks.append(_check_of("drill", error))
    done.checks.extend(ports.storage())
    return _conclude(ports, request, case, done)


def _ledger_facts(result: DrillResult) -> dict[str, Any]:
    return {
        "recovery_point": result.recovery_point,
        "verdict": result.verdict.value,
        "checks": {
            verdict.value: sum(check.verdict is verdict for check in result.checks)
            for verdict in Verdict
        },
        "rto_s": result.rto.measured_s,
        "rto_objective_s": result.rto.objective_s,
        "rpo_s": result.rpo.measured_s,
        "rpo_objective_s": result.rpo.objective_s,
    }


def _sweep(ports: DrillPorts, done: Proceedings) -> None:
    try:
        swept = ports.host.sweep()
    except VaultError as error:
        done.checks.append(_check_of("leftovers", error))
        return
    if swept:
        detail = f"removed what drills that died had left: {', '.join(swept)}"
        done.checks.append(Check("leftovers", "", Verdict.PROVEN, detail))


def _drill(ports: DrillPorts, request: DrillRequest, case: _Case, done: Proceedings) -> None:
    """Drill with an empty cache: what this host remembers of a repository proves nothing of it."""
    with ports.host.scratch(case.id) as scratch:
        cache = scratch / "restic-cache"
        bare = {name: one.with_cache(cache) for name, one in ports.repositories.items()}
        _drill_on(scratch, replace(ports, repositories=bare), request, case, done)


def _drill_on(
    scratch: Path, ports: DrillPorts, request: DrillRequest, case: _Case, done: Proceedings
) -> None:
    repository = next(iter(ports.repositories.values()))
    found = find_point(repository, request.plan, request.recovery_point, choose=ports.ids.choose)
    manifest = case.manifest = found.manifest
    case.point, case.newest = manifest.id, found.newest
    done.checks.extend((*found.checks, point_check(manifest)))
    needed = sum(source.bytes for source in manifest.sources)
    space = space_check(needed, ports.host.free_bytes(), ports.scratch_free_factor)
    done.checks.append(space)
    if space.verdict is not Verdict.PROVEN:
        return
    stored, missing = stored_sources(manifest, tuple(ports.repositories))
    done.checks.extend(missing)
    if not stored:
        return
    run = DrillRun(
        ports=ApplyPorts(ports.clock, ports.progress, ports.repositories, ports.wiring),
        manifest=manifest,
        fetches=plan_fetch(
            manifest,
            RestoreRequest(manifest.id, scratch / "restored", sources=stored),
            tuple(ports.repositories),
        ),
        scratch=scratch,
        started=case.began,
        goldens=_goldens(ports, manifest, done),
        done=done,
    )
    run.carry_out(record_missing=request.record)
    if done.recorded:
        keep_goldens(manifest, done.recorded, ports.repositories, ports.memory.directory)


def _goldens(ports: DrillPorts, manifest: Manifest, done: Proceedings) -> tuple[GoldenSet, ...]:
    """Return the recorded goldens; without them the bytes are drilled all the same."""
    try:
        return load_goldens(manifest, ports.repositories, ports.memory.directory)
    except VaultError as error:
        done.checks.append(_check_of("goldens", error))
        return ()


def _check_of(name: str, error: VaultError) -> Check:
    verdict = Verdict.FAILED if isinstance(error, IntegrityError) else Verdict.UNPROVEN
    return Check(name, "", verdict, error.diagnostics())


def _conclude(
    ports: DrillPorts, request: DrillRequest, case: _Case, done: Proceedings
) -> DrillResult:
    rto = Objective(ports.rto_seconds, done.phases.total)
    rpo = Objective(ports.rpo_seconds, age_seconds(case.newest, case.started))
    clock = clock_check(case.newest, case.started)
    checks = (*done.checks, *clock, rto_check(rto), rpo_check(rpo))
    report = ports.memory.directory / "reports" / f"{case.id}.html"
    result = DrillResult(
        id=case.id,
        plan=request.plan,
        recovery_point=case.point,
        host=ports.host.name,
        started=case.started,
        point_finished=case.manifest.finished if case.manifest else None,
        verdict=combine(check.verdict for check in checks),
        checks=checks,
        phases=done.phases,
        rto=rto,
        rpo=rpo,
        sources=tuple(done.sources),
        engines=dict(done.engines),
        replay_seconds=done.replay_seconds,
        versions=ports.versions,
        policy_digest=ports.policy_digest,
        report=str(report),
    )
    entry = entry_of(result)
    ports.record(entry)
    write_report(report.parent, result, ports.history(), ports.clock.now())
    return result


def entry_of(result: DrillResult) -> DrillEntry:
    """Return how the catalog lists a drill."""
    phases = {
        "fetch": result.phases.fetch,
        "verify": result.phases.verify,
        "load": result.phases.load,
        "first_answer": result.phases.first_answer,
        "total": result.phases.total,
    }
    return DrillEntry(
        id=result.id,
        plan=result.plan,
        recovery_point=result.recovery_point,
        started=result.started,
        verdict=result.verdict.value,
        rto_objective_s=result.rto.objective_s,
        rto_measured_s=result.rto.measured_s,
        rpo_objective_s=result.rpo.objective_s,
        rpo_measured_s=result.rpo.measured_s,
        phases={name: seconds for name, seconds in phases.items() if seconds is not None},
        report=result.report,
    )
