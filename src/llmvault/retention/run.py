"""Planning retention, asking people, and applying what they approved: what commands call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from llmvault.access.model import Request, Standing
from llmvault.access.run import AccessPorts, ask, demand
from llmvault.catalog.model import DeletionEntry
from llmvault.core.errors import PolicyError, RefusedError, UnprovenError, VaultError
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.ledger.interface import Ledger
from llmvault.recovery_points.memory import Memory
from llmvault.restic.repo import Repository, clear_locks
from llmvault.retention.apply import Emptied, NotDeleted, empty_repository, facts_of
from llmvault.retention.model import (
    Approved,
    LockDates,
    RetentionPlan,
    Target,
    World,
    copies_of,
    gone_after,
    rules_words,
)
from llmvault.retention.observe import ObservePorts, observe
from llmvault.retention.plan import (
    differences,
    empty_classes,
    faults,
    forbidden,
    plan_retention,
)
from llmvault.retention.store import FINISHED, STARTED, STOPPED, RetentionStore, Run

_LOCK = "retention"
_CLOCKS_DIFFER_BY = timedelta(minutes=5)
_log = logging.getLogger(__name__)


class DeletionRows(Protocol):
    """What the catalog is told."""

    def add_deletion(self, deletion: DeletionEntry) -> None:
        """Record a deletion; recording it again replaces it."""

    def forget_point(self, recovery_point: str, repository: str) -> bool:
        """Take a repository off a recovery point; return whether it is in none now."""


@dataclass(frozen=True, slots=True)
class RetentionPorts:
    """What retention works with."""

    observe: ObservePorts
    access: AccessPorts
    store: RetentionStore
    memory: Memory
    ledger: Ledger
    rows: Callable[[], DeletionRows]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """How applying a plan went.

    Attributes:
        verdict: proven when all of the plan is done, failed when something could not be deleted,
            unproven when a repository could not be worked on.
    """

    digest: str
    verdict: Verdict
    resumed: bool
    deleted: tuple[DeletionEntry, ...]
    left: tuple[NotDeleted, ...]
    freed: Mapping[str, int | None]
    approved_by: tuple[str, ...]


def make_plan(ports: RetentionPorts) -> RetentionPlan:
    """Return what stays and what goes now.

    Raises:
        PolicyError: when a rule matches nothing or everything.
        UnprovenError: when a class has no recovery point at all.
        VaultError: when something that decides cannot be read.
    """
    world = observe(ports.observe)
    _refuse_senseless(world)
    return plan_retention(world)


def _refuse_senseless(world: World) -> None:
    if found := faults(world):
        raise PolicyError(
            "retention", "; ".join(found), "correct the rules under retention:, nothing was touched"
        )
    if empty := empty_classes(world):
        raise UnprovenError(
            f"retention class {', '.join(empty)}",
            "there is no recovery point in its repositories, so its rules were tried on nothing",
            "take a backup, or correct retention_class under repositories:",
        )


def ask_approval(ports: RetentionPorts, plan: RetentionPlan, by: str) -> Request:
    """Keep a plan and ask for its approval.

    Raises:
        RefusedError: when the classes it deletes from fall under different approval rules.
    """
    rules = sorted({kept.rules.approval for kept, _, _ in plan.going})
    if len(rules) > 1:
        raise RefusedError(
            f"retention plan {plan.digest[:12]}",
            f"it falls under several approval rules: {', '.join(rules)}",
            "plan one class at a time: --class NAME",
        )
    ports.store.keep_plan(plan)
    rule = rules[0] if rules else "retention"
    points = {decision.point.id for _, _, decision in plan.going if decision.point.plan}
    copies = [decision for _, _, decision in plan.going if not decision.point.plan]
    classes = sorted({kept.rules.name for kept, _, _ in plan.going})
    also = f" and {len(copies)} older copies of the installation" if copies else ""
    what = f"delete {len(points)} recovery points{also} of class {', '.join(classes) or 'none'}"
    return ask(ports.access, plan.digest, rule=rule, what=what, by=by)


def apply_plan(ports: RetentionPorts, wanted: str) -> ApplyResult:
    """Execute a plan that was approved, exactly; take it up where a run of it died.

    Raises:
        PolicyError: when there is no such plan.
        RefusedError: when it is not approved, was done before, or no longer fits the world.
        UnavailableError: when a repository cannot be worked on; running again goes on.
    """
    with ports.memory.exclusive(_LOCK):
        plan = ports.store.plan(wanted)
        run = ports.store.run(plan.digest)
        if run is not None and run.state != STARTED:
            raise RefusedError(
                f"retention plan {plan.digest[:12]}",
                "it has been applied" if run.state == FINISHED else "its run was stopped for good",
                "make a new one: llmvault retention plan --request",
            )
        standing = demand(ports.access, plan.digest)
        clear_locks(_repositories(ports).values())  # whoever left one: prune waits for all
        return _Application(ports, plan, standing).run(run)


def _repositories(ports: RetentionPorts) -> dict[str, Repository]:
    return {name: one for kept in ports.observe.classes for name, one in kept.repositories.items()}


class _Application:
    """One execution of an approved plan."""

    def __init__(self, ports: RetentionPorts, plan: Approved, standing: Standing) -> None:
        self._ports, self._plan = ports, plan
        self._approved_by = tuple(sorted(one.by for one in standing.counted))
        self._approvals = [dict(one.facts) for one in standing.counted]
        self._rules = {kept.rules.name: kept.rules for kept in ports.observe.classes}
        self._deleted: list[DeletionEntry] = []
        self._left: list[NotDeleted] = []

    def run(self, before: Run | None) -> ApplyResult:
        """Do it, or go on with it."""
        world = observe(self._ports.observe)
        self._demand_same_world(world, before)
        self._demand_sane_clock(world)
        began = before.began if before else format_time(world.now)
        run = before or Run(self._plan.digest, STARTED, began, {})
        self._tell("retention.started", {"resumed": before is not None, **self._what()})
        self._ports.store.keep_run(run)
        try:
            run = self._empty_all(run)
        except VaultError as error:
            self._tell("retention.failed", {"cause": f"{error.thing}: {error.cause}"})
            raise
        self._tell("retention.applied", self._outcome(run))
        if not self._left:  # else it can be run again: the same world makes the same plan
            self._ports.store.keep_run(replace(run, state=FINISHED))
        return ApplyResult(
            digest=self._plan.digest,
            verdict=Verdict.FAILED if self._left else Verdict.PROVEN,
            resumed=before is not None,
            deleted=tuple(self._deleted),
            left=tuple(self._left),
            freed=run.freed,
            approved_by=self._approved_by,
        )

    def _demand_same_world(self, world: World, before: Run | None) -> None:
        accept_newer = {name: rules.accept_newer for name, rules in self._rules.items()}
        if before is None:
            chosen = replace(
                world, classes=tuple(c for c in world.classes if self._has(c.rules.name))
            )
            found = differences(self._plan, plan_retention(chosen), accept_newer=accept_newer)
        else:
            found = self._changes_since_death(world)
        if not found:
            return
        if before is None:
            self._tell("retention.refused", {"changes": list(found)})
        else:
            self._stop(world, before, found)
        more = f" and {len(found) - 5} more changes" if len(found) > 5 else ""
        raise RefusedError(
            f"retention plan {self._plan.digest[:12]}",
            f"the world is no longer the one it was approved for: {'; '.join(found[:5])}{more}",
            "make a new plan and have it approved: llmvault retention plan --request",
        )

    def _stop(self, world: World, run: Run, changes: Sequence[str]) -> None:
        """Give up a run that died, and say what it had deleted by then."""
        seen = _Seen.of(world)
        for kept in self._plan.classes():
            for target in self._plan.targets(kept["name"]):
                if target.point not in seen.points.get(target.repository, frozenset()):
                    gone = Emptied(target.repository, deleted=[target])
                    self._remember(kept["name"], gone, seen)
        self._tell("retention.stopped", {"changes": list(changes), **self._outcome(run)})
        self._ports.store.keep_run(replace(run, state=STOPPED))

    def _has(self, name: str) -> bool:
        return any(kept["name"] == name for kept in self._plan.classes())

    def _changes_since_death(self, world: World) -> tuple[str, ...]:
        """Return why what is left of a plan must not be done: part of it is done already."""
        told = []
        seen = _Seen.of(world)
        for kept in self._plan.classes():
            if kept["name"] not in self._rules:
                told.append(f'class "{kept["name"]}" is no longer in the policy')
            told.extend(
                f"{target.point} was to go, but {why}"
                for target in self._plan.targets(kept["name"])
                if (why := seen.why_not(target))
            )
            for repository in kept["repositories"]:
                there = seen.points.get(repository["name"], frozenset())
                planned = (*repository["recovery_points"], *copies_of(repository))
                staying = {one["id"] for one in planned if one["action"] == "keep"}
                told.extend(
                    f"{gone} is gone from {repository['name']}" for gone in sorted(staying - there)
                )
        return tuple(told)

    def _demand_sane_clock(self, world: World) -> None:
        """Refuse when this host's clock is behind what was planned for."""
        request = self._ports.access.store.request(self._plan.digest)
        asked = max((one["at"] for one in request.asked), default="") if request else ""
        if asked and format_time(world.now + _CLOCKS_DIFFER_BY) < asked:
            raise RefusedError(
                "clock",
                f"this host's clock says {format_time(world.now)}, before the plan was asked for",
                "set the clock, and run again",
            )

    def _empty_all(self, run: Run) -> Run:
        repositories = _repositories(self._ports)
        for kept in self._plan.classes():
            rules = self._rules[kept["name"]]
            targets: dict[str, list[Target]] = {}
            for target in self._plan.targets(kept["name"]):
                targets.setdefault(target.repository, []).append(target)
            for name, going in targets.items():
                seen = _Seen.of(observe(self._ports.observe))
                emptied = empty_repository(
                    repositories[name],
                    going,
                    allowed=seen.why_not,
                    lock_wait=rules.wait_for_lock,
                )
                self._remember(rules.name, emptied, seen)
                run = replace(run, freed={**run.freed, name: emptied.freed})
                self._ports.store.keep_run(run)
        return run

    def _remember(self, of_class: str, emptied: Emptied, seen: _Seen) -> None:
        now = self._ports.observe.clock.now()
        for target in emptied.deleted:
            deletion = DeletionEntry(
                id=f"{target.repository}/{target.point}",
                retention_class=of_class,
                repository=target.repository,
                recovery_point=target.point,
                plan=target.plan,
                taken=target.time,
                deleted=now,
                why=target.why,
                run=self._plan.digest,
                approved_by=self._approved_by,
                bytes_added=target.bytes_added,
                gone=seen.gone(target, now),
            )
            self._ports.rows().add_deletion(deletion)
            if self._ports.rows().forget_point(target.point, target.repository):
                self._ports.memory.manifest_path(target.point).unlink(missing_ok=True)
            self._deleted.append(deletion)
        self._left.extend(emptied.left)

    def _what(self) -> dict[str, Any]:
        names = [kept["name"] for kept in self._plan.classes()]
        return {
            "classes": [
                {"name": rules.name, "basis": rules.basis, "keeps": rules_words(rules)}
                for rules in (self._rules[name] for name in names)
            ],
            "recovery_points": [
                one for name in names for one in facts_of(name, self._plan.targets(name))
            ],
            "approvals": self._approvals,
        }

    def _outcome(self, run: Run) -> dict[str, Any]:
        return {
            "deleted": [
                {
                    "recovery_point": one.recovery_point,
                    "repository": one.repository,
                    "gone_not_before": one.gone,
                }
                for one in self._deleted
            ],
            "left": [
                {"recovery_point": one.recovery_point, "repository": one.repository, "why": one.why}
                for one in self._left
            ],
            "bytes_freed": dict(run.freed),
        }

    def _tell(self, kind: str, facts: Mapping[str, Any]) -> None:
        self._ports.ledger.append(kind, {"plan": self._plan.digest, **facts})


@dataclass(frozen=True, slots=True)
class _Seen:
    """A world, so that it can be asked about one recovery point after the other."""

    world: World
    points: Mapping[str, frozenset[str]]
    sources: Mapping[str, Mapping[str, str]]
    locks: Mapping[str, LockDates]

    @classmethod
    def of(cls, world: World) -> _Seen:
        repositories = [one for facts in world.classes for one in facts.repositories]
        return cls(
            world,
            {
                one.name: frozenset(
                    point.id for point in (*one.points, *(copy.point for copy in one.copies))
                )
                for one in repositories
            },
            {point.id: point.sources for one in repositories for point in one.points},
            {one.name: one.locks for one in repositories},
        )

    def gone(self, target: Target, deleted: datetime) -> str:
        """Return before when the bytes of what was deleted cannot be gone; empty when they are."""
        when = gone_after(target.snapshots, self.locks[target.repository], deleted)
        return format_time(when) if isinstance(when, datetime) else when or ""

    def why_not(self, target: Target) -> str:
        """Return why a target must not go; empty when it may, or is gone already."""
        if target.point not in self.points.get(target.repository, frozenset()):
            return ""
        return forbidden(target, self.world, self.sources.get(target.point, {}))
