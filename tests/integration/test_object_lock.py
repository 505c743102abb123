"""What a lock means on a real server, through our own bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from llmvault.core.errors import RefusedError
from llmvault.core.ids import RandomIds
from llmvault.objectstore.errors import AbsentError
from llmvault.objectstore.model import LockMode, Retention
from llmvault.objectstore.s3 import Bucket, as_utc
from tests.ceph import Ceph
from tests.stores import Store

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> Bucket:
    """A bucket with Object Lock and no default."""
    made = Store(ceph.endpoint, ceph.owner).bucket(f"llmvault-{RandomIds().token()}")
    made.create(lock=True)
    assert made.settings().lock_enabled
    assert made.settings().versioning == "Enabled"
    return made


def until(days: float = 1) -> datetime:
    return as_utc(datetime.now(UTC) + days * DAY)


@pytest.fixture
def locked(bucket: Bucket) -> tuple[str, str, Retention]:
    """Key, version and lock of an object in compliance mode."""
    key, lock = RandomIds().token(), Retention(LockMode.COMPLIANCE, until())
    return key, bucket.put(key, b"pack", lock), lock


Locked = tuple[str, str, Retention]


def test_a_lock_in_compliance_mode_cannot_be_taken_away(bucket: Bucket, locked: Locked) -> None:
    key, version, lock = locked
    head = bucket.head(key, version)
    assert (head.retention, head.version, head.size) == (lock, version, 4)
    shorter = Retention(LockMode.COMPLIANCE, until(0.5))
    weaker = Retention(LockMode.GOVERNANCE, until(2))
    for bypass in (False, True):
        with pytest.raises(RefusedError):
            bucket.delete(key, version, bypass=bypass)
        with pytest.raises(RefusedError):
            bucket.retain(key, version, shorter, bypass=bypass)
        with pytest.raises(RefusedError):
            bucket.retain(key, version, weaker, bypass=bypass)
    assert bucket.head(key, version).retention == lock


def test_a_lock_can_be_made_longer(bucket: Bucket, locked: Locked) -> None:
    key, version, _ = locked
    longer = Retention(LockMode.COMPLIANCE, until(3))
    bucket.retain(key, version, longer)
    assert bucket.head(key, version).retention == longer


def test_hidden_objects_can_be_brought_back(bucket: Bucket, locked: Locked) -> None:
    key, version, _ = locked
    bucket.delete(key)
    with pytest.raises(AbsentError):
        bucket.head(key)
    found = [one for one in bucket.versions(key) if one.marker]
    assert [one.latest for one in found] == [True]
    bucket.delete(key, found[0].id)
    assert bucket.read(key) == b"pack"
    assert bucket.head(key).version == version


def test_governance_gives_way_to_those_who_may_bypass_it(bucket: Bucket) -> None:
    key, lock = RandomIds().token(), Retention(LockMode.GOVERNANCE, until())
    version = bucket.put(key, b"pack", lock)
    with pytest.raises(RefusedError):
        bucket.delete(key, version)
    sooner = Retention(LockMode.GOVERNANCE, until(0.5))
    with pytest.raises(RefusedError):
        bucket.retain(key, version, sooner)
    bucket.retain(key, version, sooner, bypass=True)
    bucket.delete(key, version, bypass=True)
    assert list(bucket.versions(key)) == []


def test_a_legal_hold_keeps_without_a_date(bucket: Bucket) -> None:
    key = RandomIds().token()
    version = bucket.put(key, b"pack")
    bucket.hold(key, version, on=True)
    assert bucket.head(key, version).legal_hold
    with pytest.raises(RefusedError):
        bucket.delete(key, version, bypass=True)
    bucket.hold(key, version, on=False)
    bucket.delete(key, version)


def test_versions_cannot_be_suspended_under_a_lock(bucket: Bucket) -> None:
    with pytest.raises(RefusedError):
        bucket.set_versioning(enabled=False)
    assert bucket.settings().versioning == "Enabled"


def test_a_lock_that_has_lapsed_no_longer_holds(bucket: Bucket) -> None:
    key = RandomIds().token()
    soon = as_utc(datetime.now(UTC) + timedelta(seconds=1))
    version = bucket.put(key, b"pack", Retention(LockMode.COMPLIANCE, soon))
    with pytest.raises(RefusedError):
        bucket.delete(key, version)
    while datetime.now(UTC) < soon + timedelta(seconds=1):
        pass
    bucket.delete(key, version)
