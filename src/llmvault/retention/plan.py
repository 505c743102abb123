"""Which recovery points stay, which go, and why. Pure: same world, same plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from llmvault.core.units import format_time
from llmvault.holds.model import Hold
from llmvault.recovery_points.links import needed_by
from llmvault.retention.model import (
    Approved,
    ClassFacts,
    ClassPlan,
    ClassRules,
    CopyDecision,
    Decision,
    InstallationCopy,
    LockDates,
    Point,
    Rank,
    Reason,
    RepositoryFacts,
    RepositoryPlan,
    RetentionPlan,
    Target,
    World,
    copies_of,
)
from llmvault.retention.rules import has_tags, kept_by_rules, newest_first

# A backup without a manifest may still be running; it is left alone for this long.
_MAY_RUN = timedelta(days=7)
_CLOCKS_DIFFER_BY = timedelta(minutes=5)
_ID_DIFFERS_BY = timedelta(days=2)
_ID_TIME = re.compile(r"rp-(\d{8}T\d{6})Z-")
# Sources of these kinds hold weights: no record of a person, and no log.
_WEIGHTS = frozenset({"hf_cache", "model_dir", "ollama"})


_NO_RULE = Reason("no-rule", "no rule keeps it")
_SUPERSEDED = Reason("superseded", "a newer copy has all of its ledger, and no rule keeps it")


def plan_retention(world: World) -> RetentionPlan:
    """Return what stays and what goes."""
    return RetentionPlan(
        tuple(
            ClassPlan(
                facts.rules,
                tuple(_repository(one, facts.rules, world) for one in facts.repositories),
            )
            for facts in world.classes
        ),
        tuple(
            f'class "{facts.rules.name}": {text}'
            for facts in world.classes
            for repository in facts.repositories
            for text in _lock_findings(repository, facts.rules, world.now)
        ),
    )


def _lock_findings(facts: RepositoryFacts, rules: ClassRules, now: datetime) -> Iterator[str]:
    """Yield where the locks, as the storage tells them, are shorter than they must be."""
    locks, where = facts.locks, f"in {facts.name} "
    extend = f"run: llmvault lock extend {facts.name}"
    if locks.demanded and locks.lapsed:
        yield f"{where}{locks.lapsed} objects have a lock that has lapsed; {extend}"
    if locks.demanded and locks.unlocked:
        yield f"{where}{locks.unlocked} objects have no lock, though one is declared; {extend}"
    newest = max((point.time for point in facts.points if point.complete), default=None)
    if rules.locked_for is None or newest is None or newest + rules.locked_for <= now:
        return
    needed = format_time(newest + rules.locked_for)
    if not locks.known:
        yield f"{where}nobody can tell whether it is locked until {needed}: {locks.basis}"
    elif locks.earliest is None:
        yield f"{where}what must be locked until {needed} is not locked: {locks.basis}"
    elif locks.earliest < newest + rules.locked_for:
        yield (
            f"{where}the lock is shorter than the class demands: the first lapses on "
            f"{format_time(locks.earliest)}, and {needed} is demanded"
        )


def faults(world: World) -> tuple[str, ...]:
    """Return every rule that matches nothing, or everything: a policy that was not meant so."""
    return tuple(fault for facts in world.classes for fault in _class_faults(facts, world.now))


def _class_faults(facts: ClassFacts, now: datetime) -> Iterator[str]:
    name = facts.rules.name
    points = [point for repository in facts.repositories for point in repository.points]
    for wanted in facts.rules.keep.tags:
        having = sum(has_tags(point, wanted) for point in points)
        words = ",".join(sorted(wanted))
        if points and not having:
            yield f'class "{name}": no recovery point has the tag {words}: the rule keeps nothing'
        elif having == len(points) > 1:
            yield f'class "{name}": every recovery point has the tag {words}: nothing ever goes'
    for repository in facts.repositories:
        for (plan, host), group in _groups(repository.points).items():
            countable = [point for point in group if not _set_aside(point, now)]
            if countable and not kept_by_rules(countable, facts.rules.keep):
                yield (
                    f'class "{name}": its rules keep none of the {len(countable)} recovery points '
                    f"of plan {plan} on {host} in {repository.name}: everything would go"
                )


def empty_classes(world: World) -> tuple[str, ...]:
    """Return the classes in whose repositories there is no recovery point."""
    return tuple(
        facts.rules.name
        for facts in world.classes
        if not any(repository.points for repository in facts.repositories)
    )


def _groups(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.plan, point.host), []).append(point)
    return groups


def _repository(facts: RepositoryFacts, rules: ClassRules, world: World) -> RepositoryPlan:
    reasons: dict[str, list[Reason]] = {}
    for group in _groups(facts.points).values():
        reasons |= _kept_in_group(group, rules, world.now)
    for point in facts.points:
        reasons.setdefault(point.id, []).extend(_held(point, world.holds))
    for identity, reason in tuple(_needed(facts.points, reasons)):
        reasons[identity].append(reason)
    decisions = tuple(
        _decision(point, reasons[point.id], facts.locks, world.now)
        for point in reversed(newest_first(facts.points))
    )
    return RepositoryPlan(
        name=facts.name,
        decisions=decisions,
        copies=_copies(facts, rules, world.now),
        foreign=facts.foreign,
        locks_basis=facts.locks.basis,
        stays_days=facts.locks.stays_days,
    )


def _copies(facts: RepositoryFacts, rules: ClassRules, now: datetime) -> tuple[CopyDecision, ...]:
    """Return what becomes of the copies of each installation, oldest first.

    The one with the most of its ledger is what an installation is recovered from; an older one has
    nothing that it has not, save what was pruned from the ledger since.
    """
    by_origin: dict[str, list[InstallationCopy]] = {}
    for copy in facts.copies:
        by_origin.setdefault(copy.origin, []).append(copy)
    reasons: dict[str, list[Reason]] = {}
    for group in by_origin.values():
        aside = {one.point.id: found for one in group if (found := _set_aside(one.point, now))}
        points = [one.point for one in group if one.point.id not in aside]
        fullest = max(group, key=lambda one: (one.entries, one.point.time, one.point.id))
        text = (
            f"the one with most of its ledger: {fullest.entries} entries; it is recovered from it"
        )
        reasons |= {name: [reason] for name, reason in aside.items()}
        reasons |= kept_by_rules(points, rules.copies)
        reasons.setdefault(fullest.point.id, []).append(Reason("recovery", text))
    ordered = sorted(facts.copies, key=lambda one: (one.point.time, one.point.id))
    decided = (
        (one, _decision(one.point, reasons.get(one.point.id, ()), facts.locks, now, _SUPERSEDED))
        for one in ordered
    )
    return tuple(
        CopyDecision(
            point=copy.point,
            keep=decision.keep,
            reasons=decision.reasons,
            gone=decision.gone,
            gone_known=decision.gone_known,
            origin=copy.origin,
            entries=copy.entries,
        )
        for copy, decision in decided
    )


def _kept_in_group(
    group: Sequence[Point], rules: ClassRules, now: datetime
) -> dict[str, list[Reason]]:
    reasons: dict[str, list[Reason]] = {}
    countable = []
    whole = any(point.complete for point in group)
    for point in group:
        if reason := _set_aside(point, now):
            reasons[point.id] = [reason] if reason.rule != "dead" or not whole else []
        else:
            countable.append(point)
    reasons |= kept_by_rules(countable, rules.keep)
    for point, reason in (*_last_proven(countable), *_minimum(countable, rules, reasons)):
        reasons.setdefault(point.id, []).append(reason)
    return reasons


def _set_aside(point: Point, now: datetime) -> Reason | None:
    """Return why a point takes no part in the rules; None when it does."""
    if point.time > now + _CLOCKS_DIFFER_BY:
        return Reason(
            "clock", f"is dated in the future ({format_time(point.time)}): a clock is off"
        )
    if _disagrees(point):
        return Reason(
            "clock", "its time is not that of its id: it was dated back, or a clock is off"
        )
    if not point.complete:
        if now - point.time < _MAY_RUN:
            return Reason("running", "has no manifest yet: its backup may still be running")
        return Reason("dead", "has no manifest, but nothing else of its plan is there")
    return None


def _disagrees(point: Point) -> bool:
    match = _ID_TIME.match(point.id)
    if match is None:
        return False
    try:
        named = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        return True
    # a backup may take long, but it is never stored before it began
    return not -_CLOCKS_DIFFER_BY <= point.time - named <= max(_MAY_RUN, _ID_DIFFERS_BY)


def last_proven(group: Sequence[Point]) -> Point | None:
    """Return the newest of the points of a plan and host of which most is known."""
    ordered = newest_first([point for point in group if point.complete])
    return max(ordered, key=lambda point: point.rank, default=None)


def _last_proven(countable: Sequence[Point]) -> Iterator[tuple[Point, Reason]]:
    best = last_proven(countable)
    if best is not None:
        text = {
            Rank.DRILLED: "the last one that a drill proved",
            Rank.PROVEN: "the last one whose backup was proven; no drill has proved any",
        }.get(best.rank, "the last one; none is proven")
        yield best, Reason("last-proven", text)


def _minimum(
    countable: Sequence[Point], rules: ClassRules, reasons: Mapping[str, Sequence[Reason]]
) -> Iterator[tuple[Point, Reason]]:
    """Yield the best points that must stay so that enough sound ones do."""
    best = sorted(newest_first(countable), key=lambda point: point.rank, reverse=True)
    proven = last_proven(countable)
    staying = {identity for identity, found in reasons.items() if found}
    if proven is not None:
        staying.add(proven.id)
    sound = [point for point in best if point.rank >= Rank.PROVEN and point.id in staying]
    missing = rules.minimum - len(sound)
    for point in best:
        if missing <= 0:
            return
        if point.id not in staying:
            yield point, Reason("minimum", f"one of the {rules.minimum} that must stay")
            missing -= 1


def _needed(
    points: Sequence[Point], reasons: Mapping[str, Sequence[Reason]]
) -> Iterator[tuple[str, Reason]]:
    """Yield the points without whose streams one that stays could not be restored.

    A point names all that it builds on, so there is nothing to follow.
    """
    builders: dict[str, list[str]] = {}
    for point in points:
        if reasons[point.id]:
            for needed in needs_of(point):
                builders.setdefault(needed, []).append(point.id)
    for point in points:
        if found := sorted(builders.get(point.id, ())):
            several = f" and {len(found) - 1} more stay and build on it"
            ending = several if len(found) > 1 else " stays and builds on it"
            yield point.id, Reason("needed", f"{found[0]}{ending}")


def needs_of(point: Point) -> frozenset[str]:
    """Return the recovery points that the snapshots of one build on."""
    return frozenset(needed for tags in point.tags for needed in needed_by(tags))


def _held(point: Point, holds: Sequence[Hold]) -> Iterator[Reason]:
    for hold in holds:
        if covers(hold, point.id, point.time, point.sources):
            yield Reason("hold", f"is held: {hold.id} ({hold.matter}) on {hold.what}")


def covers(hold: Hold, point: str, time: datetime, sources: Mapping[str, str]) -> bool:
    """Whether a hold covers a recovery point.

    A subject's hold covers every point with a source that could hold something of a person: which
    records are in which backup is not known here, and to delete too little is the lesser harm. A
    hold on logs covers every point that was stored on the first of its days or later, with a source
    that could hold logs: nobody knows here for how long logs stay where they are.

    Args:
        time: when it was stored.
        sources: name -> kind; a kind that is not known is empty, and so is all if nothing is known.
    """
    if hold.kind == "recovery-point":
        return hold.target == point
    if hold.kind == "source":
        return not sources or hold.target in sources
    if hold.kind == "log-range" and time < hold.logs_from:
        return False
    if hold.in_source:
        return not sources or hold.in_source in sources
    return not sources or any(kind not in _WEIGHTS for kind in sources.values())


def _decision(
    point: Point,
    reasons: Sequence[Reason],
    locks: LockDates,
    now: datetime,
    otherwise: Reason = _NO_RULE,
) -> Decision:
    locked = locked_until(point.snapshots, locks)
    ahead = locked if locked and locked > now else None
    if reasons:
        return Decision(point, True, tuple(reasons), None, locks.known)
    if not point.complete:
        why = [Reason("dead", "has no manifest: its backup died")]
    else:
        why = [otherwise]
    if ahead:
        text = f"its bytes are locked in the storage until {format_time(ahead)} at the latest"
        why.append(Reason("lock", text, ahead))
    return Decision(point, False, tuple(why), ahead, locks.known)


def locked_until(snapshots: Mapping[str, str], locks: LockDates) -> datetime | None:
    """Return the last of the lock dates of some snapshots."""
    dates = (locks.until[identity] for identity in snapshots if identity in locks.until)
    return max(dates, default=None)


def differences(
    approved: Approved, found: RetentionPlan, *, accept_newer: Mapping[str, bool]
) -> tuple[str, ...]:
    """Return in which ways the world is no longer the one for which a plan was approved.

    Args:
        found: what would be decided now.
        accept_newer: by class, whether recovery points newer than all of the plan's are no change.
    """
    now = {kept.rules.name: kept for kept in found.classes}
    told: list[str] = []
    for kept in approved.classes():
        name = kept["name"]
        if name not in now:
            told.append(f'class "{name}" is no longer in the policy')
            continue
        document = {one["name"]: one for one in found.document["classes"]}[name]
        if _rules_of(document) != _rules_of(kept):
            told.append(f'the rules of class "{name}" have changed')
        told.extend(_repository_differences(kept, document, accept_newer.get(name, False)))
    return tuple(told)


def _rules_of(document: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in document.items() if key != "repositories"}


def _repository_differences(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    accept_newer: bool,
) -> Iterator[str]:
    names = [[str(one["name"]) for one in side["repositories"]] for side in (before, after)]
    if names[0] != names[1]:
        yield f"the repositories of the class are now {', '.join(names[1]) or 'none'}"
        return
    for old, new in zip(before["repositories"], after["repositories"], strict=True):
        where = f"in {old['name']}: "
        yield from (where + text for text in _point_differences(old, new, accept_newer))
        yield from (where + text for text in _copy_differences(old, new))


def _copy_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is no longer as planned of copies of installations; newer ones come all day."""
    found = {str(one["id"]): one for one in copies_of(new)}
    for planned in copies_of(old):
        seen = found.get(planned["id"])
        if seen is None:
            yield f"{planned['id']} is gone: somebody else deleted it"
        elif (planned["action"], seen["action"]) == ("delete", "keep"):
            why = "; ".join(reason["text"] for reason in seen["reasons"])
            yield f"{planned['id']} was to go, and now would not: {why}"


def _point_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], accept_newer: bool
) -> Iterator[str]:
    planned, found = (_by_id(side) for side in (old, new))
    newest = max((point["time"] for point in planned.values()), default="")
    for identity, point in planned.items():
        seen = found.get(identity)
        if seen is None:
            yield f"{identity} is gone: somebody else deleted it"
        elif seen["snapshots"] != point["snapshots"]:
            yield f"{identity} no longer has the same snapshots"
        elif seen["action"] != point["action"]:
            why = "; ".join(reason["text"] for reason in seen["reasons"])
            planned_as = "stay" if point["action"] == "keep" else "go"
            if planned_as == "go" or not accept_newer:
                yield f"{identity} was to {planned_as}, and now would not: {why}"
    for identity, point in found.items():
        if identity not in planned and not (accept_newer and point["time"] > newest):
            yield f"{identity} is new ({point['time']})"


def _by_id(side: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(point["id"]): point for point in side["recovery_points"]}


def forbidden(target: Target, world: World, sources: Mapping[str, str]) -> str:
    """Return why a recovery point must not be deleted after all; empty when it may.

    Looked at again right before each deletion: holds may be placed at any moment.
    """
    for hold in world.holds:
        if target.plan and covers(hold, target.point, target.time, sources):
            return f"it is held by {hold.id} ({hold.matter})"
    for facts in world.classes:
        for repository in facts.repositories:
            if repository.name == target.repository:
                if not target.plan:
                    return _copy_forbidden(target, _copies(repository, facts.rules, world.now))
                return _forbidden_here(target, repository) or _needed_now(
                    target, repository, world.holds
                )
    return f"repository {target.repository} is no longer in its class"


def _copy_forbidden(target: Target, decisions: Sequence[CopyDecision]) -> str:
    for decision in decisions:
        if decision.point.id == target.point and decision.keep:
            return f"it stays now: {decision.why}"
    return ""


def _forbidden_here(target: Target, repository: RepositoryFacts) -> str:
    group = _groups(repository.points).get((target.plan, target.host), [])
    best = last_proven(group)
    if best is not None and best.id == target.point:
        return "it is the last proven one"
    if not any(point.complete and point.id != target.point for point in group):
        return "no other recovery point of its plan would be left"
    return ""


def _needed_now(target: Target, repository: RepositoryFacts, holds: Sequence[Hold]) -> str:
    """Return which point that cannot go builds on a target; empty when none does."""
    for group in _groups(repository.points).values():
        best = last_proven(group)
        for point in group:
            if target.point not in needs_of(point):
                continue
            if point is best:
                return f"{point.id} builds on it, which is the last proven one"
            if any(covers(hold, point.id, point.time, point.sources) for hold in holds):
                return f"{point.id} builds on it, which is held"
    return ""
