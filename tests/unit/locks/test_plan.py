"""What is kept, what is asked for and what is extended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.clock import SystemClock
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Verdict
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Extension, Lock, Objects, Terms
from llmvault.locks.observe import ask_locks, list_objects
from llmvault.locks.plan import batches, extended, kept_objects, plan_extension, unknown
from llmvault.objectstore.model import Location, LockMode, Version
from llmvault.objectstore.s3 import Credential
from tests.fakes.listed_bucket import ListedBucket

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = 86_400.0
TERMS = Terms(LockMode.COMPLIANCE, 30 * DAY, 10 * DAY)


def version(identity: str = "v1", *, latest: bool = True, marker: bool = False) -> Version:
    return Version("", identity, latest, marker, NOW)


def lock(days: float | None, mode: LockMode = LockMode.COMPLIANCE, identity: str = "v1") -> Lock:
    until = None if days is None else NOW + timedelta(days=days)
    return Lock(identity, None if until is None else mode, until)


def objects(*names: str) -> Objects:
    return Objects(dict.fromkeys(names, "v1"), (), 0)


def test_only_what_a_recovery_needs_is_kept() -> None:
    listed = [
        ("config", version()),
        ("data/aa/aaaa", version()),
        ("data/bb/bbbb", version()),
        ("data/cc/cccc", version("v2", marker=True)),
        ("data/cc/cccc", version("v1", latest=False)),
        ("index/i", version()),
        ("keys/k", version()),
        ("llmvault-canary/canary", version()),
        ("locks/l", version()),
        ("snapshots/s", version("v7")),
        ("snapshots/s", version("v6", latest=False)),
    ]
    kept = kept_objects(listed, {"aaaa", "cccc", "dddd"})
    assert kept.current == {
        "config": "v1", "data/aa/aaaa": "v1", "index/i": "v1", "keys/k": "v1", "snapshots/s": "v7",
    }  # fmt: skip
    assert kept.missing == ("cccc", "dddd")
    assert kept.unreferenced == 1


def test_only_what_is_new_is_asked_for() -> None:
    known = {"a": lock(20), "b": lock(20, identity="v0"), "gone": lock(20)}
    assert unknown(objects("a", "b", "c"), known) == ("b", "c")


def test_what_lapses_too_soon_is_extended() -> None:
    inventory = {"far": lock(20), "near": lock(9), "past": lock(-1), "none": lock(None)}
    plan = plan_extension(objects(*inventory), inventory, TERMS, NOW)
    assert [one.name for one in plan.extend] == ["near", "past", "none"]
    assert plan.until == NOW + timedelta(days=30)
    assert (plan.lapsed, plan.unlocked) == (("past",), ("none",))
    assert plan.earliest is None
    assert plan.verdict is Verdict.FAILED


def test_the_earliest_lapse_is_over_everything() -> None:
    inventory = {"a": lock(20), "b": lock(12)}
    plan = plan_extension(objects("a", "b"), inventory, TERMS, NOW)
    assert plan.earliest == NOW + timedelta(days=12)
    assert (plan.extend, plan.verdict) == ((), Verdict.PROVEN)


def test_governance_does_not_do_where_compliance_is_declared() -> None:
    inventory = {"a": lock(20, LockMode.GOVERNANCE)}
    plan = plan_extension(objects("a"), inventory, TERMS, NOW)
    assert plan.unlocked == ("a",)
    assert plan.extend == (Extension("a", "v1", NOW + timedelta(days=30)),)


def test_a_hidden_pack_fails_though_every_lock_holds() -> None:
    plan = plan_extension(Objects({"a": "v1"}, ("pack",), 0), {"a": lock(20)}, TERMS, NOW)
    assert plan.verdict is Verdict.FAILED


def test_an_empty_repository_proves_nothing() -> None:
    assert plan_extension(Objects({}, (), 0), {}, TERMS, NOW).verdict is Verdict.UNPROVEN


days = st.one_of(st.none(), st.floats(min_value=-40, max_value=40))
modes = st.sampled_from(LockMode)


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.tuples(days, modes), max_size=20))
def test_after_an_extension_nothing_lapses_before_the_next(
    given_locks: dict[str, tuple[float | None, LockMode]],
) -> None:
    inventory = {name: lock(left, mode) for name, (left, mode) in given_locks.items()}
    what = objects(*inventory)
    plan = plan_extension(what, inventory, TERMS, NOW)
    after = extended(inventory, plan)
    again = plan_extension(what, after, TERMS, NOW)
    assert again.extend == ()
    assert not again.lapsed and not again.unlocked
    for name, now in after.items():
        before = inventory[name].until
        assert now.until is not None
        assert now.until >= NOW + timedelta(days=10)
        assert before is None or before <= now.until
    assert unknown(what, after) == ()


def test_a_hundred_thousand_packs_take_a_request_each_and_none_the_next_time(
    tmp_path: Path,
) -> None:
    names = tuple(f"data/{number % 256:02x}/{number:064x}" for number in range(100_000))
    packs = frozenset(name.rpartition("/")[2] for name in names)
    inventory = Inventory(tmp_path, "0" * 64)
    keys = Credential("none", Secret("none"), Secret("none"))
    for heads in (len(names), 0):
        bucket = ListedBucket(Location("http://none", "none"), keys, SystemClock(), names=names)
        found, known = list_objects(bucket, packs), inventory.locks()
        asked = ask_locks(bucket, found, unknown(found, known))
        inventory.add(asked)
        assert bucket.requests["head_object"] == heads
        assert bucket.requests["list_object_versions"] == 100
        plan = plan_extension(found, known | asked, TERMS, datetime.now(UTC))
        assert {one.name for one in plan.extend} == set(names)
        assert plan.lapsed == plan.unlocked == plan.missing == ()


def test_batches_hold_everything_once() -> None:
    extend = tuple(Extension(str(number), "v", NOW) for number in range(1201))
    cut = list(batches(extend, 500))
    assert [len(one) for one in cut] == [500, 500, 201]
    assert tuple(one for batch in cut for one in batch) == extend
