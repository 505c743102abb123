"""What stays and what goes: guards on top of the rules, faults, changes, and promises that hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.spans import Span
from llmvault.holds.model import Hold
from llmvault.retention.model import (
    Approved,
    ClassFacts,
    ClassRules,
    CopyDecision,
    Decision,
    InstallationCopy,
    KeepRules,
    LockDates,
    Point,
    Rank,
    RepositoryFacts,
    RetentionPlan,
    World,
    gone_after,
    gone_words,
)
from llmvault.retention.plan import (
    covers,
    differences,
    empty_classes,
    faults,
    forbidden,
    last_proven,
    plan_retention,
)

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TWO = KeepRules(counts={"last": 2})
UNLOCKED = LockDates({}, True, "a directory")


def point(
    age_days: float,
    *,
    rank: Rank = Rank.PROVEN,
    number: int = 0,
    complete: bool = True,
    tags: tuple[frozenset[str], ...] = (frozenset({"t"}),),
) -> Point:
    time = NOW - timedelta(days=age_days)
    identity = f"rp-{time:%Y%m%dT%H%M%SZ}-{number:06x}"
    return Point(
        id=identity,
        plan="nightly",
        host="h",
        time=time,
        tags=tags,
        snapshots={f"{identity}-m": "", f"{identity}-s": "model"},
        complete=complete,
        rank=rank,
        rank_reason="",
        sources={"model": "model_dir", "db": "postgres"},
        bytes_added=10,
    )


def copy(age_days: float, entries: int, *, origin: str = "vault") -> InstallationCopy:
    time = NOW - timedelta(days=age_days)
    identity = f"installation-{origin}-{time:%m%d%H%M}-{entries}"
    found = Point(
        id=identity,
        plan="",
        host="h",
        time=time,
        tags=(frozenset(),),
        snapshots={f"{identity}-s": "installation"},
        complete=True,
        rank=Rank.UNPROVEN,
        rank_reason="",
        sources={},
        bytes_added=10,
    )
    return InstallationCopy(found, origin, entries)


def rules(keep: KeepRules, *, minimum: int = 1) -> ClassRules:
    return ClassRules(
        "standard", "law", keep, minimum, "retention", False, timedelta(minutes=1), TWO
    )


def world(
    *points: Point,
    keep: KeepRules | None = None,
    minimum: int = 1,
    holds: tuple[Hold, ...] = (),
    locks: LockDates = UNLOCKED,
    now: datetime = NOW,
    copies: tuple[InstallationCopy, ...] = (),
) -> World:
    facts = RepositoryFacts("primary", points, copies, 0, locks)
    wanted = rules(keep or KeepRules(counts={"last": 1}), minimum=minimum)
    return World(now, (ClassFacts(wanted, (facts,)),), holds)


def decided(seen: World) -> dict[str, Decision]:
    (planned,) = plan_retention(seen).classes
    return {one.point.id: one for one in planned.repositories[0].decisions}


def staying(seen: World) -> set[str]:
    return {identity for identity, decision in decided(seen).items() if decision.keep}


def hold(kind: str, target: str) -> Hold:
    return Hold("hold-1", kind, target, "case", "why", "ada", NOW)


def test_a_drill_outranks_what_is_newer() -> None:
    new, drilled, old = point(1), point(5, rank=Rank.DRILLED), point(9, rank=Rank.DRILLED)
    found = decided(world(new, drilled, old))
    assert [found[one.id].keep for one in (new, drilled, old)] == [True, True, False]
    assert [reason.rule for reason in found[drilled.id].reasons] == ["last-proven"]
    assert all(decision.reasons for decision in found.values())


def test_within_a_period_the_best_stays() -> None:
    morning = point(1.0, rank=Rank.DRILLED)
    evening = point(0.9, rank=Rank.UNPROVEN, number=1)
    newest = point(0, rank=Rank.DRILLED, number=2)
    found = decided(world(morning, evening, newest, keep=KeepRules(counts={"daily": 2})))
    assert found[morning.id].keep
    assert "proven by a drill" in found[morning.id].why
    assert evening.id in found[morning.id].why


def test_a_failed_drill_takes_the_rank_away() -> None:
    new, old = point(1, rank=Rank.FAILED), point(5)
    found = decided(world(new, old))
    assert found[old.id].keep
    assert "no drill has proved any" in found[old.id].why


def building_on(*needed: Point) -> tuple[frozenset[str], ...]:
    return (frozenset({"t", *(f"llmvault:needs={one.id}" for one in needed)}),)


def test_what_a_point_builds_on_stays_with_it() -> None:
    full, other = point(9), point(8)
    second = point(5, tags=building_on(full))
    third = point(1, tags=building_on(full, second))
    found = decided(world(full, other, second, third))
    assert [found[one.id].keep for one in (full, other, second, third)] == [True, False, True, True]
    assert [reason.rule for reason in found[full.id].reasons] == ["needed"]
    assert found[full.id].why == f"{third.id} stays and builds on it"
    both = decided(world(full, second, third, keep=KeepRules(counts={"last": 2})))
    assert both[full.id].why == f"{second.id} and 1 more stay and build on it"
    assert not found[other.id].keep


def test_what_only_a_deleted_point_builds_on_goes() -> None:
    full = point(9)
    second = point(5, tags=building_on(full))
    new = point(1)
    assert staying(world(full, second, new)) == {new.id}


def test_what_a_held_point_builds_on_is_not_deleted_after_all() -> None:
    full = point(9)
    second = point(5, tags=building_on(full))
    new = point(1)
    seen = world(full, second, new)
    targets = {one.point: one for one in approved(plan_retention(seen)).targets("standard")}
    assert forbidden(targets[full.id], seen, {}) == ""
    held = replace(seen, holds=(hold("recovery-point", second.id),))
    assert forbidden(targets[full.id], held, {}) == f"{second.id} builds on it, which is held"
    assert staying(held) == {full.id, second.id, new.id}
    last = world(full, replace(second, rank=Rank.DRILLED), new)
    assert forbidden(targets[full.id], last, {}).endswith("which is the last proven one")


def test_the_minimum_takes_the_best() -> None:
    bad = point(1, rank=Rank.FAILED)
    good = [point(days) for days in (5, 6, 7)]
    found = decided(world(bad, *good, minimum=2))
    assert {one.id for one in (bad, good[0], good[1])} == {k for k, d in found.items() if d.keep}
    assert found[good[1].id].reasons[0].rule == "minimum"


def test_locks_say_until_when() -> None:
    new, old = point(1), point(9)
    until = NOW + timedelta(days=3)
    found = decided(world(new, old, locks=LockDates({f"{old.id}-s": until}, True, "lock")))
    assert not found[old.id].keep
    assert [reason.rule for reason in found[old.id].reasons] == ["no-rule", "lock"]
    assert found[old.id].reasons[1].until == found[old.id].gone == until
    over = LockDates({f"{old.id}-s": NOW - timedelta(days=1)}, True, "lock")
    assert decided(world(new, old, locks=over))[old.id].gone is None
    unknown = decided(world(new, old, locks=LockDates({}, False, "not looked at")))[old.id]
    assert not unknown.gone_known


@pytest.mark.parametrize(
    ("locks", "planned", "deleted"),
    [
        (LockDates({}, True, ""), "when applied", None),
        (LockDates({}, False, ""), "unknown", "unknown"),
        (LockDates({}, True, "", stays_days=None), "never", "never"),
        (LockDates({}, True, "", stays_days=35), "35 days after applied", 35),
        (LockDates({"s": NOW + timedelta(days=9)}, True, ""), "2026-06-24T12:00:00.000Z", 9),
        (
            LockDates({"s": NOW + timedelta(days=9)}, True, "", stays_days=35),
            "2026-06-24T12:00:00.000Z",
            35,
        ),
        (LockDates({"s": NOW - timedelta(days=9)}, True, ""), "when applied", None),
    ],
)
def test_when_bytes_can_be_gone(locks: LockDates, planned: str, deleted: int | str | None) -> None:
    old = replace(point(9), snapshots={"s": "model"})
    decision = decided(world(point(1), old, locks=locks))[old.id]
    assert gone_words(decision, locks.stays_days) == planned
    expected = NOW + timedelta(days=deleted) if isinstance(deleted, int) else deleted
    assert gone_after(old.snapshots, locks, NOW) == expected


MONTH = timedelta(days=30)


@pytest.mark.parametrize(
    ("locks", "finding"),
    [
        (LockDates({}, True, "a directory"), "is not locked: a directory"),
        (LockDates({}, False, "it did not answer"), "nobody can tell"),
        (LockDates({}, True, "", earliest=NOW + 28 * timedelta(days=1)), "shorter than the class"),
        (LockDates({}, True, "", demanded=True, earliest=NOW + MONTH, lapsed=2), "2 objects have"),
        (LockDates({}, True, "", demanded=True, earliest=NOW + MONTH, unlocked=3), "3 objects"),
        (LockDates({}, True, "", demanded=True, earliest=NOW + MONTH), None),
    ],
)
def test_a_lock_that_is_shorter_than_its_class(locks: LockDates, finding: str | None) -> None:
    seen = world(point(1), locks=locks)
    (facts,) = seen.classes
    strict = replace(facts, rules=replace(facts.rules, locked_for=MONTH))
    found = plan_retention(replace(seen, classes=(strict,))).findings
    if finding is None:
        assert found == ()
    else:
        (one,) = found
        assert finding in one
    if not locks.demanded:
        assert plan_retention(seen).findings == ()


@pytest.mark.parametrize(
    ("kind", "target", "covered"),
    [
        ("recovery-point", "rp-1", True),
        ("recovery-point", "rp-2", False),
        ("source", "db", True),
        ("source", "other", False),
        ("subject", "a3f09c55e1d24b77", True),
        ("log-range", "2026-01-01..2026-01-02", True),
        ("log-range", "2026-06-15..2026-06-15", True),
        ("log-range", "2026-06-16..2026-06-17", True),  # it has begun in UTC+14
        ("log-range", "2026-06-17..2026-06-17", False),
    ],
)
def test_what_a_hold_covers(kind: str, target: str, covered: bool) -> None:
    sources = {"model": "model_dir", "db": "postgres"}
    assert covers(hold(kind, target), "rp-1", NOW, sources) is covered


def test_logs_are_in_no_weights_but_may_be_in_all_else() -> None:
    logs = hold("log-range", "2026-06-01..2026-06-02")
    assert not covers(logs, "rp-1", NOW, {"model": "model_dir", "hub": "hf_cache"})
    assert not covers(logs, "rp-1", NOW - timedelta(days=16), {"configs": "configs"})
    assert covers(logs, "rp-1", NOW, {"configs": "configs"})
    assert covers(logs, "rp-1", NOW, {"lost": ""})
    assert covers(logs, "rp-1", NOW, {})
    narrowed = replace(logs, in_source="configs")
    assert covers(narrowed, "rp-1", NOW, {"configs": "configs", "db": "postgres"})
    assert not covers(narrowed, "rp-1", NOW, {"db": "postgres"})
    assert covers(narrowed, "rp-1", NOW, {})
    assert not covers(narrowed, "rp-1", NOW - timedelta(days=16), {"configs": "configs"})


def decided_copies(*copies: InstallationCopy) -> dict[str, CopyDecision]:
    (planned,) = plan_retention(world(point(1), copies=copies)).classes
    return {one.point.id: one for one in planned.repositories[0].copies}


def test_the_newest_copies_of_each_installation_stay() -> None:
    ours = [copy(age, 100 - age) for age in range(1, 6)]
    theirs = copy(90, 4, origin="another")
    found = decided_copies(*ours, theirs)
    assert [found[one.point.id].keep for one in ours] == [True, True, False, False, False]
    assert [reason.rule for reason in found[ours[2].point.id].reasons] == ["superseded"]
    assert [reason.rule for reason in found[theirs.point.id].reasons] == ["last", "recovery"]
    assert all(one.reasons for one in found.values())


def test_the_copy_that_is_recovered_from_always_stays() -> None:
    fullest = copy(9, 500)
    older_ledgers = [copy(age, 10 + age) for age in (1, 2, 3)]
    found = decided_copies(fullest, *older_ledgers)
    assert [reason.rule for reason in found[fullest.point.id].reasons] == ["recovery"]
    assert not found[older_ledgers[2].point.id].keep


def test_a_copy_from_the_future_displaces_no_other() -> None:
    copies = [copy(1, 12), copy(2, 11)]
    found = decided_copies(copy(-9, 10), *copies)
    assert all(one.keep for one in found.values())


def test_newer_copies_are_no_change_and_needed_ones_do_not_go() -> None:
    first, second, third = copy(9, 1), copy(8, 2), copy(7, 3)
    before = world(point(1), copies=(first, second, third))
    plan = approved(plan_retention(before))
    (target,) = plan.targets("standard")
    assert (target.point, target.plan) == (first.point.id, "")
    assert changes(before, world(point(1), copies=(first, second, third, copy(1, 4)))) == ()
    alone = world(point(1), copies=(first, second))
    assert [one.split(": ")[1] for one in changes(before, alone)] == [
        f"{first.point.id} was to go, and now would not",
        f"{third.point.id} is gone",
    ]
    assert "it stays now" in forbidden(target, alone, {})
    assert forbidden(target, before, {}) == ""
    held = replace(before, holds=(hold("subject", "a3f09c55e1d24b77"),))
    assert forbidden(target, held, {}) == "", "newer copies have all that an older one has"


def test_a_subject_is_not_in_weights_but_may_be_in_the_unknown() -> None:
    subject = hold("subject", "a3f09c55e1d24b77")
    assert not covers(subject, "rp-1", NOW, {"model": "model_dir", "hub": "hf_cache"})
    assert covers(subject, "rp-1", NOW, {"model": ""})
    assert covers(subject, "rp-1", NOW, {})


def test_rules_that_keep_nothing_or_match_all() -> None:
    tagged = point(1, tags=(frozenset({"t", "x"}),))
    plain = point(2)
    nothing = faults(world(tagged, plain, keep=KeepRules(tags=(frozenset({"y"}),))))
    assert len(nothing) == 2
    assert "has the tag y" in nothing[0]
    assert "everything would go" in nothing[1]
    (everything,) = faults(world(tagged, plain, keep=KeepRules(tags=(frozenset({"t"}),))))
    assert "nothing ever goes" in everything
    assert faults(world(tagged, plain, keep=KeepRules(tags=(frozenset({"x"}),)))) == ()
    assert empty_classes(world()) == ("standard",)


def approved(plan: RetentionPlan) -> Approved:
    return Approved(plan.digest, plan.document)


def changes(before: World, after: World, *, accept_newer: bool = False) -> tuple[str, ...]:
    return differences(
        approved(plan_retention(before)),
        plan_retention(after),
        accept_newer={"standard": accept_newer},
    )


def test_what_is_a_change() -> None:
    new, old = point(1), point(9)
    before = world(new, old)
    assert changes(before, before) == ()
    assert changes(before, world(replace(new, rank=Rank.DRILLED), old)) == ()
    newer = point(0.5, number=4)
    assert any("is new" in one for one in changes(before, world(newer, new, old)))
    assert changes(before, world(newer, new, old), accept_newer=True) == ()
    between = point(5, number=4)
    assert changes(before, world(between, new, old), accept_newer=True) != ()
    assert "somebody else" in changes(before, world(new))[0]
    assert (
        "the last one that a drill"
        in changes(before, world(new, replace(old, rank=Rank.DRILLED)))[0]
    )
    held = world(new, old, holds=(hold("recovery-point", old.id),))
    assert "case" in changes(before, held)[0]
    other = world(new, old, keep=KeepRules(counts={"last": 2}))
    assert "have changed" in changes(before, other)[0]
    assert "no longer in the policy" in changes(before, World(NOW, (), ()))[0]


ranks = st.sampled_from(list(Rank))
ages = st.integers(0, 400 * 24).map(lambda hours: hours / 24)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn = draw(st.lists(st.tuples(ages, ranks, st.booleans()), min_size=1, max_size=30))
    points = [
        point(age, rank=rank if complete else Rank.FAILED, number=number, complete=complete)
        for number, (age, rank, complete) in enumerate(drawn)
    ]
    targets = draw(st.lists(st.sampled_from([one.id for one in points]), max_size=2))
    locked = draw(st.lists(st.sampled_from(points), max_size=2))
    keep = draw(
        st.sampled_from(
            [
                KeepRules(counts={"last": 1}),
                KeepRules(counts={"daily": 3, "monthly": 2}),
                KeepRules(within=Span(days=7)),
                KeepRules(within_by={"within_weekly": Span(months=2)}),
            ]
        )
    )
    return world(
        *points,
        keep=keep,
        minimum=draw(st.integers(1, 4)),
        holds=tuple(hold("recovery-point", target) for target in targets),
        locks=LockDates(
            {next(iter(one.snapshots)): NOW + timedelta(days=1) for one in locked}, True, ""
        ),
    )


@given(worlds())
def test_what_is_promised_of_every_world(seen: World) -> None:
    found = decided(seen)
    (facts,) = seen.classes
    points = facts.repositories[0].points
    assert set(found) == {one.id for one in points}
    assert all(decision.reasons for decision in found.values())
    kept = [found[one.id].point for one in points if found[one.id].keep]
    best = last_proven(points)
    if best is not None:
        assert found[best.id].keep, "the last proven one never goes"
    sound = [one for one in points if one.complete and one.rank >= Rank.PROVEN]
    kept_sound = [one for one in kept if one.complete and one.rank >= Rank.PROVEN]
    assert len(kept_sound) >= min(len(sound), facts.rules.minimum)
    for one in seen.holds:
        assert found[one.target].keep, "what is held never goes"
    for snapshot, until in facts.repositories[0].locks.until.items():
        for decision in found.values():
            if snapshot in decision.point.snapshots:
                assert decision.keep or decision.gone == until
    plan = plan_retention(seen)
    assert plan.digest == plan_retention(seen).digest
    assert changes(seen, seen) == ()
    for target in approved(plan).targets("standard"):
        assert forbidden(target, seen, {}) == "" or seen.holds


@given(worlds())
def test_the_order_of_what_was_seen_does_not_matter(seen: World) -> None:
    (facts,) = seen.classes
    (repository,) = facts.repositories
    turned = replace(repository, points=tuple(reversed(repository.points)))
    other = replace(seen, classes=(replace(facts, repositories=(turned,)),))
    assert plan_retention(seen).digest == plan_retention(other).digest
