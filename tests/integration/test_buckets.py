"""Setting buckets up on servers that keep settings, refuse them, or only say they kept them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llmvault.buckets.run import apply_buckets, check_buckets
from llmvault.buckets.tamper import Target, run_tamper
from llmvault.core.clock import SystemClock
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.objectstore.model import LifecycleRule, Location, LockMode
from tests.buckets import COMPLIANCE, Site, site
from tests.ceph import Ceph
from tests.fakes.ledger import MemoryLedger
from tests.fakes.stepping_clock import SteppingClock
from tests.stores import Keys, Store

pytestmark = pytest.mark.integration


def attack(store: Store, name: str, *, lock: LockMode | None = LockMode.COMPLIANCE) -> Target:
    """Return a tamper test of a bucket, with the keys that may do everything."""
    bucket = store.bucket(name)
    where = Location(store.endpoint, name, "standard")
    return Target("primary", where, lock, False, lambda: bucket, lambda: bucket)


def test_everything_declared_is_made_and_read_back(moto: Store) -> None:
    made = site(moto, lock=COMPLIANCE, encryption="AES256", tls_only=False)
    assert made.differing() == [
        "bucket", "versioning", "lock", "lifecycle", "encryption",
    ]  # fmt: skip
    checks = made.apply()
    assert {check.verdict for check in checks.values()} == {Verdict.PROVEN}
    assert made.differing() == []
    assert [kind for kind, _ in made.ledger.entries] == ["bucket.changing", "bucket.changed"]
    assert made.ledger.entries[-1][1]["left"] == {}


def test_what_others_declared_stays(moto: Store) -> None:
    made = site(moto, lock=COMPLIANCE)
    bucket = moto.bucket(made.name)
    bucket.create(lock=True)
    foreign = LifecycleRule("theirs", "logs/", True, 3, None)
    bucket.set_lifecycle([foreign])
    statement = {
        "Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{made.name}/public/*",
    }  # fmt: skip
    bucket.set_policy([statement])
    https = replace(moto, endpoint=moto.endpoint)
    other = site(https, name=made.name, lock=COMPLIANCE, backup_principal="arn:aws:iam::1:user/b")
    assert {check.verdict for check in other.apply().values()} == {Verdict.PROVEN}
    settings = bucket.settings()
    assert foreign in settings.lifecycle
    assert statement in settings.statements
    assert len(settings.lifecycle) == 2
    assert other.differing() == []


def test_drift_is_found_and_closed(moto: Store) -> None:
    made = site(moto, lock=COMPLIANCE, backup_principal="arn:aws:iam::1:user/b")
    made.apply()
    bucket = moto.bucket(made.name)
    bucket.set_lifecycle([])
    bucket.set_lock(None)
    bucket.set_policy([])
    assert made.differing() == ["lock", "lifecycle", "policy"]
    (check,) = check_buckets(made.ports)
    assert check.verdict is Verdict.FAILED
    assert "compliance for 2 days" in check.detail
    assert {one.verdict for one in made.apply().values()} == {Verdict.PROVEN}
    (check,) = check_buckets(made.ports)
    assert check.verdict is Verdict.PROVEN


def test_a_lock_shorter_than_declared_is_a_difference(moto: Store) -> None:
    short = site(moto, lock={"mode": "compliance", "period": "1d"})
    short.apply()
    made = site(moto, name=short.name, lock={"mode": "compliance", "period": "30d"})
    (difference,) = made.plan().differences
    assert (difference.declared, difference.actual) == (
        "compliance for 30 days", "compliance for 1 days",
    )  # fmt: skip


def test_a_bucket_that_changed_since_the_plan_is_refused(moto: Store) -> None:
    made = site(moto, lock=COMPLIANCE)
    plan = made.plan()
    moto.bucket(made.name).create(lock=True)
    with pytest.raises(RefusedError, match="changed since"):
        apply_buckets(made.ports, [plan])
    assert made.ledger.entries == []


def test_a_server_that_answers_200_and_keeps_nothing_fails(rclone: Store) -> None:
    made = site(rclone, lock=COMPLIANCE)
    checks = made.apply()
    for setting in ("versioning", "lock"):
        assert checks[setting].verdict is Verdict.FAILED, checks[setting]
    assert "did not keep it" in checks["versioning"].detail
    assert {"versioning", "lock"} <= set(made.differing())
    (check,) = check_buckets(made.ports)
    assert check.verdict is Verdict.FAILED


def test_the_tamper_test_is_not_fooled_by_such_a_server(rclone: Store) -> None:
    made = site(rclone, lock=COMPLIANCE)
    made.apply()
    ledger = MemoryLedger()
    result = run_tamper(attack(rclone, made.name), SystemClock(), ledger)
    assert result.verdict is Verdict.FAILED
    verdicts = {check.name: check.verdict for check in result.checks}
    assert verdicts["hide"] is Verdict.FAILED
    assert verdicts["delete-version"] is Verdict.FAILED
    assert verdicts["suspend-versions"] is Verdict.FAILED
    assert [kind for kind, _ in ledger.entries] == ["tamper.started", "tamper.tested"]
    assert ledger.entries[-1][1]["verdict"] == "failed"


def test_a_bucket_without_versions_or_lock_fails_the_tamper_test(moto: Store) -> None:
    made = site(moto)
    bucket = moto.bucket(made.name)
    bucket.create(lock=False)
    result = run_tamper(attack(moto, made.name), SystemClock(), MemoryLedger())
    assert result.verdict is Verdict.FAILED
    verdicts = {check.name: check.verdict for check in result.checks}
    assert verdicts["delete-version"] is Verdict.FAILED
    bucket.set_versioning(enabled=True)
    result = run_tamper(attack(moto, made.name), SystemClock(), MemoryLedger())
    found = {check.name: (check.verdict, check.detail) for check in result.checks}
    assert found["delete-version"][0] is Verdict.FAILED
    assert found["suspend-versions"][0] is Verdict.FAILED
    assert "got no lock" in found["lock"][1]
    # what the attempts changed was put right
    assert bucket.settings().versioning == "Enabled"


def test_keys_that_may_delete_are_a_finding_though_the_lock_holds(ceph: Ceph) -> None:
    made = _made(ceph)
    store = Store(ceph.endpoint, ceph.owner)
    result = run_tamper(attack(store, made.name), SystemClock(), MemoryLedger())
    found = {check.name: check.verdict for check in result.checks}
    assert found["hide"] is Verdict.FAILED
    assert found["delete-version"] is Verdict.PROVEN
    assert found["shorten-lock-bypassing"] is Verdict.PROVEN
    assert found["suspend-versions"] is Verdict.PROVEN
    assert found["canary-survives"] is Verdict.PROVEN
    assert result.verdict is Verdict.FAILED
    # and the canary is not left hidden
    assert store.bucket(made.name).read("standard/llmvault-canary/canary")


def test_governance_can_be_bypassed_by_the_owner_which_the_test_tells(ceph: Ceph) -> None:
    made = _made(ceph, lock={"mode": "governance", "period": "2d"})
    store = Store(ceph.endpoint, ceph.owner)
    target = attack(store, made.name, lock=LockMode.GOVERNANCE)
    found = {c.name: c.verdict for c in run_tamper(target, SystemClock(), MemoryLedger()).checks}
    assert found["delete-version"] is Verdict.PROVEN
    assert found["delete-version-bypassing"] is Verdict.FAILED
    assert found["canary-survives"] is Verdict.FAILED


def test_keys_that_are_not_accepted_prove_nothing(ceph: Ceph) -> None:
    made = _made(ceph)
    wrong = Store(ceph.endpoint, Keys(ceph.owner.access, "wrong"))
    result = run_tamper(attack(wrong, made.name), SystemClock(), MemoryLedger())
    assert result.verdict is Verdict.UNPROVEN
    assert "credential" in result.checks[0].detail


def test_a_server_that_is_down_proves_nothing() -> None:
    down = Store("http://127.0.0.1:9", Keys("a", "b"))
    result = run_tamper(attack(down, "bucket"), SystemClock(), MemoryLedger())
    assert result.verdict is Verdict.UNPROVEN
    made = site(down, lock=COMPLIANCE)
    (check,) = check_buckets(made.ports)
    assert check.verdict is Verdict.UNPROVEN
    with pytest.raises(UnavailableError):
        made.plan()


def test_a_lock_that_the_server_cannot_switch_on_later_is_told(ceph: Ceph) -> None:
    store = Store(ceph.endpoint, ceph.owner)
    made = site(store, lock=COMPLIANCE)
    store.bucket(made.name).create(lock=False)
    checks = made.apply()
    if store.bucket(made.name).settings().lock_enabled:  # newer Ceph can
        assert checks["lock"].verdict is Verdict.PROVEN
        return
    assert checks["lock"].verdict is Verdict.FAILED
    assert "create a new bucket" in checks["lock"].detail
    assert checks["versioning"].verdict is Verdict.PROVEN


@pytest.mark.parametrize("hours", [-8, 8])
def test_a_clock_that_is_off_by_hours_is_refused(ceph: Ceph, hours: int) -> None:
    made = _made(ceph)
    off = SteppingClock(datetime.now(UTC) + timedelta(hours=hours))
    wrong = Site(made.store, made.declared, clock=off)
    (check,) = check_buckets(wrong.ports)
    assert check.verdict is Verdict.FAILED
    assert "clock" in check.detail
    made.store.bucket(made.name).set_lifecycle([])
    with pytest.raises(RefusedError, match="clock"):
        wrong.apply()


def _made(ceph: Ceph, **settings: object) -> Site:
    made = site(Store(ceph.endpoint, ceph.owner), lock=settings.get("lock", COMPLIANCE))
    assert {check.verdict for check in made.apply().values()} == {Verdict.PROVEN}
    return made
