"""Retention on a real object store with locks: planned, approved, deleted, and what is left."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from llmvault.core.units import parse_time
from tests.ceph import Ceph
from tests.stores import Store
from tests.system.deployment import Deployment
from tests.system.history import RULES, add_people, decisions
from tests.system.stored import Stored, store_deployment

pytestmark = pytest.mark.system

ONE = RULES.replace("{last: 2, monthly: 2}", "{last: 1}\n        minimum: 1")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def stored(ceph: Ceph, small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Two recovery points in a bucket that locks them, the newest proven by a drill."""
    made = store_deployment(
        small.copy(tmp_path_factory.mktemp("retained") / "base"),
        ceph.endpoint,
        owner=ceph.owner,
        backup=ceph.user("backup"),
    )
    add_people(made.deployment, ONE)
    assert made.run("init", "--json").exit_code == 0
    noise = made.deployment.live / "model" / "noise.dat"
    for _ in range(2):
        noise.write_bytes(os.urandom(1 << 20))
        done = made.run("backup", "--json")
        assert done.exit_code == 0, done
    drilled = made.run("drill", "--json")
    assert drilled.exit_code == 0, drilled
    return made


def test_the_whole_cycle_by_an_approved_plan(ceph: Ceph, stored: Stored) -> None:
    began = datetime.now(UTC)
    plan = stored.run("retention", "plan", "--request", "--json")
    assert plan.exit_code == 0, plan
    assert plan.document["findings"] == []
    (repository,) = plan.document["plan"]["classes"][0]["repositories"]
    assert repository["old_versions_days"] == 35
    going = {one["id"]: one for one in decisions(plan) if one["action"] == "delete"}
    (stays,) = [one["id"] for one in decisions(plan) if one["action"] == "keep"]
    assert len(going) == 1
    for one in going.values():
        assert [reason["rule"] for reason in one["reasons"]] == ["no-rule", "lock"]
        assert began + 1.9 * DAY < parse_time(one["gone_not_before"]) < began + 2.1 * DAY

    digest = plan.document["digest"]
    key = stored.deployment.base / "keys" / "ada"
    assert stored.run("approve", digest, "--key", str(key)).exit_code == 0
    only_backup = {
        name: stored.variables["BACKUP" + name[5:]] for name in ("OWNER_ID", "OWNER_KEY")
    }
    refused = stored.run("retention", "apply", digest, "--json", more=only_backup)
    assert refused.exit_code in (1, 4, 5), refused  # up to 0.18 restic itself exits with 0
    listed = stored.run("recovery-points", "list", "--scan", "--json").document["recovery_points"]
    assert len(listed) == 2, "the credential of backups deletes nothing"

    done = stored.run("retention", "apply", digest, "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    for one in done.document["deleted"]:
        assert parse_time(one["gone_not_before"]) > began + 34 * DAY
    listed = stored.run("recovery-points", "list", "--scan", "--json").document["recovery_points"]
    assert [one["id"] for one in listed] == [stays]
    bucket = Store(ceph.endpoint, ceph.owner).bucket(stored.bucket, prefix="standard")
    versions = list(bucket.versions("standard/data/"))
    hidden = {one.key for one in versions if one.marker and one.latest}
    assert hidden, "pruning hid packs"
    assert hidden <= {one.key for one in versions if not one.marker}, "and their bytes are locked"

    proven = stored.run("drill", "--json")
    assert proven.exit_code == 0, proven
    locks = stored.run("lock", "status", "--json")
    assert locks.exit_code == 0, locks

    told = stored.run("retention", "show", "standard", "--json").document
    left = {one["recovery_point"]: one for one in told["could_not_be_deleted"]}
    assert left.keys() == going.keys()
    for one in left.values():
        assert "stay in the storage" in one["why"]
        assert parse_time(one["until"]) > began + 34 * DAY


def test_a_lock_shorter_than_the_class_is_a_finding(stored: Stored) -> None:
    stored.deployment.override("retention: {standard: {locked_for: 3d}}", "locked")
    try:
        done = stored.run("retention", "plan", "--json")
        assert done.exit_code == 1, done
        (finding,) = done.document["findings"]
        assert "shorter than the class demands" in finding
        stored.override("{lock: {period: 5d, extend_before: 4d}}", name="longer")
        declared = stored.run("retention", "plan", "--json")
        assert declared.exit_code == 1, "what counts is what the store says, not the policy"
        assert stored.run("lock", "extend").exit_code == 0
        extended = stored.run("retention", "plan", "--json")
        assert (extended.exit_code, extended.document["findings"]) == (0, []), extended
    finally:
        for name in ("locked", "longer"):
            (stored.deployment.policies / "overrides.d" / f"{name}.yaml").unlink(missing_ok=True)
