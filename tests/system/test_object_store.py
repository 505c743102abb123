"""The promise on a real Ceph: set up, read back, attacked, backed up, drilled."""

from __future__ import annotations

import os

import pytest

from tests.ceph import Ceph
from tests.stores import Store
from tests.system.deployment import Completed, Deployment
from tests.system.stored import Stored, store_deployment
from tests.system.test_clock import SHIFTED

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def stored(ceph: Ceph, small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A deployment in a bucket that was set up by init, with one proven recovery point."""
    made = store_deployment(
        small.copy(tmp_path_factory.mktemp("stored") / "base"),
        ceph.endpoint,
        owner=ceph.owner,
        backup=ceph.user("backup"),
        reader=ceph.user("reader"),
    )
    planned = made.run("policy", "plan", "--json")
    assert planned.exit_code == 1, planned
    (bucket,) = planned.document["buckets"]
    assert [one["setting"] for one in bucket["differences"]] == [
        "bucket", "versioning", "lock", "lifecycle", "policy",
    ]  # fmt: skip
    done = made.run("init", "--json")
    assert done.exit_code == 0, done
    assert {one["verdict"] for one in done.document["stores"]} == {"proven"}
    backed_up = made.run("backup", "--json")
    assert backed_up.exit_code == 0, backed_up
    return made


def test_a_set_up_bucket_is_as_declared(stored: Stored) -> None:
    planned = stored.run("policy", "plan", "--json")
    assert planned.exit_code == 0, planned
    assert planned.document["buckets"][0]["differences"] == []
    applied = stored.run("policy", "apply", "--json")
    assert applied.exit_code == 0, applied


def test_every_attempt_to_destroy_is_refused(stored: Stored) -> None:
    done = stored.run("tamper", "--json")
    assert done.exit_code == 0, done
    checks = {check["name"]: check for check in done.document["checks"]}
    for name in (
        "delete-version", "delete-version-bypassing", "shorten-lock", "shorten-lock-bypassing",
        "hide", "suspend-versions",
    ):  # fmt: skip
        assert checks[name]["detail"].startswith("refused"), checks[name]
    assert checks["canary-survives"]["verdict"] == "proven"


def test_a_drill_attacks_the_store_too(stored: Stored) -> None:
    done = stored.run("drill", "--json")
    assert done.exit_code == 0, done
    assert done.named("checks", "tamper:primary")["verdict"] == "proven"


def diagnosed(done: Completed) -> dict[str, str]:
    """Return subject -> verdict of what the doctor said."""
    return {one["subject"].split(" ")[0]: one["verdict"] for one in done.document["diagnoses"]}


def test_the_doctor_attacks_the_store_and_finds_drift(ceph: Ceph, stored: Stored) -> None:
    well = diagnosed(stored.run("doctor", "--json"))
    assert (well["bucket"], well["tamper"]) == ("proven", "proven"), well
    Store(ceph.endpoint, ceph.owner).bucket(stored.bucket).set_lifecycle([])
    owner = {
        "BACKUP_ID": stored.variables["OWNER_ID"],
        "BACKUP_KEY": stored.variables["OWNER_KEY"],
    }
    done = stored.run("doctor", "--json", more=owner)
    assert done.exit_code == 1, done
    ill = diagnosed(done)
    assert (ill["bucket"], ill["tamper"]) == ("failed", "failed"), ill
    planned = stored.run("policy", "plan", "--json")
    assert planned.exit_code == 1, planned
    (bucket,) = planned.document["buckets"]
    assert [one["setting"] for one in bucket["differences"]] == ["lifecycle"]
    assert stored.run("policy", "apply").exit_code == 0
    assert stored.run("policy", "plan").exit_code == 0
    assert stored.run("tamper").exit_code == 0, "the keys of backups again: well"


def test_locks_are_told_and_extended_on_the_real_server(stored: Stored) -> None:
    before = stored.run("lock", "status", "--json")
    assert before.exit_code == 0, before
    (told,) = before.document["repositories"]
    assert told["objects"] > 5
    assert told["missing"] == told["unlocked"] == told["lapsed"] == 0
    assert told["requests"]["head_object"] <= told["objects"]
    stored.override("{lock: {period: 4d, extend_before: 3d}}", name="longer")
    try:
        assert stored.run("policy", "apply").exit_code == 0
        done = stored.run("lock", "extend", "--json")
        assert done.exit_code == 0, done
        (after,) = done.document["repositories"]
        copied = after["objects"] - told["objects"]  # with `policy.changed`, locked for 4 days
        assert copied > 0
        assert after["extended"] == told["objects"]
        assert after["to_extend"] == 0
        assert after["requests"]["head_object"] == copied + 1  # one read back; others were known
        assert after["earliest_lapse"] > told["earliest_lapse"]
        again = stored.run("lock", "extend", "--json").document["repositories"][0]
        assert again["extended"] == 0
        kinds = ledger_kinds(stored)
        assert kinds.count("lock.extending") == kinds.count("lock.extended") == 1
    finally:
        (stored.deployment.policies / "overrides.d" / "longer.yaml").unlink()
        assert stored.run("policy", "apply").exit_code == 0


def ledger_kinds(stored: Stored) -> list[str]:
    listed = stored.run("ledger", "show", "--json").document["entries"]
    return [entry["kind"] for entry in listed]


def test_a_hidden_pack_is_a_failure_of_lock_status(ceph: Ceph, stored: Stored) -> None:
    bucket = Store(ceph.endpoint, ceph.owner).bucket(stored.bucket, prefix="standard")
    pack = next(one for one in bucket.versions("standard/data/") if one.latest)
    bucket.delete(pack.key)
    try:
        done = stored.run("lock", "status", "--json")
        assert done.exit_code == 1, done
        (told,) = done.document["repositories"]
        assert told["missing"] == 1
        assert "hidden or gone" in told["reason"]
    finally:
        (marker,) = [one for one in bucket.versions(pack.key) if one.marker]
        bucket.delete(pack.key, marker.id)
    assert stored.run("lock", "status").exit_code == 0


def test_the_clock_of_this_host_must_be_right(stored: Stored) -> None:
    path = os.pathsep.join(filter(None, [str(SHIFTED), os.environ.get("PYTHONPATH")]))
    off = {"PYTHONPATH": path, "LLMVAULT_TEST_CLOCK_OFF": str(8 * 3600)}
    done = stored.run("lock", "extend", "--json", more=off)
    assert done.exit_code == 4, done
    assert "clock" in done.error["cause"]


def test_a_dry_run_tells_the_cost_of_reading(stored: Stored) -> None:
    stored.override(
        "{storage_class: GLACIER, prices: {currency: EUR, egress_per_gb: 80,"
        " retrieval_per_gb: 10, requests_per_1000: 0.4, retrieval_time: 12h,"
        " source: made up for a test}}",
        name="prices",
    )
    try:
        done = stored.run("drill", "--dry-run", "--json")
        assert done.exit_code == 0, done
        (told,) = done.document["estimates"]
        assert told["storage_class"] == "GLACIER"
        assert told["bytes"] == done.document["bytes"]
        assert told["cost"] > 0
        assert told["wait_s"] == 12 * 3600
    finally:
        (stored.deployment.policies / "overrides.d" / "prices.yaml").unlink()


def test_verification_reads_with_a_credential_that_may_only_read(stored: Stored) -> None:
    stored.deployment.override("repositories: {primary: {verification: {parts: 1}}}", "parts")
    done = stored.run("verify", "--json")
    assert done.exit_code == 0, done
    assert done.document["repositories"][0]["coverage"]["verdict"] == "proven"
    done = stored.run("copies", "status", "--json")
    told = {check["name"]: check for check in done.document["plans"][0]["checks"]}
    assert told["immutable"]["verdict"] == "proven", told["immutable"]
    assert told["no-errors"]["verdict"] == "proven", told["no-errors"]
