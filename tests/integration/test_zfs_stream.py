"""ZFS datasets as streams: backed up, built on, restored and drilled, with real restic.

Every test runs against our fake ``zfs``, or against a real pool where the kernel has ZFS.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmvault.backup.model import BackupResult
from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.process import Command, Completed, LocalRunner
from llmvault.core.verdict import Verdict
from llmvault.drill.wiring import Wiring
from llmvault.policy.sources import ZfsStreamSource
from llmvault.recovery_points.links import links_of, needed_by
from llmvault.recovery_points.model import Manifest
from llmvault.sources.interface import Building, StreamCapture
from llmvault.sources.zfs_stream import ZfsStream
from tests.contract.source import local_ports
from tests.filesystems import MIB
from tests.vault import PLAN, Vault, clean_environment
from tests.zfs_pools import POOL, FakePool, Pool, fake_pool, real_pool

pytestmark = pytest.mark.integration

DATASET = f"{POOL}/data"
OURS = "@llmvault-stream-"


@pytest.fixture(params=["fake", "real"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pool]:
    """A pool with an encrypted dataset; none of our snapshots but the kept one is left in it."""
    if request.param == "fake" and os.access("/dev/zfs", os.W_OK):
        pytest.skip("here is a real one")
    if request.param == "fake":
        made = fake_pool(tmp_path)
        made.create(DATASET, encrypted=True)
        yield made
        return
    with real_pool(tmp_path) as real:
        real.create(DATASET, encrypted=True)
        yield real


@pytest.fixture
def vault(vault: Vault, pool: Pool) -> Vault:
    """A vault with the dataset as its source."""
    vault.environment = {**clean_environment(), **pool.environment}
    use(vault)
    return vault


def use(vault: Vault, **config: object) -> ZfsStream:
    """Declare the source, with what differs from the defaults."""
    source = stream(vault, **config)
    vault.add(source)
    return source


def stream(vault: Vault, **config: object) -> ZfsStream:
    values = {"kind": "zfs_stream", "dataset": DATASET, **config}
    ports = replace(local_ports(vault.environment), keep=vault.state / "records")
    return ZfsStream("tank", ZfsStreamSource.model_validate(values), ports)


def backup(vault: Vault) -> Manifest:
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN, (result.sources, result.checks)
    return manifest


def told(manifest: Manifest) -> Mapping[str, Any]:
    """Return what is recorded of the stream."""
    found: Mapping[str, Any] = manifest.source("tank").observation.details["stream"]
    return found


def findings(manifest: Manifest) -> list[str]:
    return [one.name for one in manifest.source("tank").observation.findings]


def ours(pool: Pool) -> list[str]:
    """Return the snapshots of ours in the pool that the test made."""
    return [one for one in pool.snapshots() if one.startswith(f"{DATASET}@") and OURS in one]


def guid_of(manifest: Manifest) -> str:
    return str(told(manifest)["snapshots"][0]["guid"])


def test_a_chain_comes_back_after_the_dataset_is_destroyed(vault: Vault, pool: Pool) -> None:
    """Full, increment, increment; destroyed; restored, drilled, received, compared."""
    points = []
    for content in ("one", "two", "three"):
        pool.write(DATASET, content)
        points.append(backup(vault))
        assert ours(pool) == [f"{DATASET}{OURS}{points[-1].id}"], "the older one is destroyed"
    assert [told(one)["kind"] for one in points] == ["full", "increment", "increment"]
    record = points[2].source("tank")
    assert [link.recovery_point for link in links_of(record)] == [points[0].id, points[1].id]
    assert record.files == 3
    recorded = record.observation.details["datasets"][0]["encryption"]
    assert recorded["encryption"] == "aes-256-gcm"
    assert recorded["encryptionroot"] == DATASET
    tags = vault.restic("cat", "snapshot", record.snapshots["primary"])["tags"]
    assert needed_by(map(str, tags)) == {points[0].id, points[1].id}

    pool.zfs("release", "llmvault", ours(pool)[0])
    pool.zfs("destroy", "-r", DATASET)

    drilled = vault.drill(Wiring({}, {}, vault.sources))
    checks = {check.name: check for check in drilled.checks if check.source == "tank"}
    assert {one.verdict for one in checks.values()} == {Verdict.PROVEN}, checks
    assert checks.keys() >= {"digests", "tree", "streams", "records"}
    assert pool.pools() == [POOL]
    assert list((vault.state / "records/zfs-pools").iterdir()) == []

    restored = vault.restore(vault.base / "restored", into={"tank": f"zfs:{POOL}/again"})
    assert restored.verdict is Verdict.PROVEN, restored.checks
    assert pool.snapshots()[f"{POOL}/again{OURS}{points[2].id}"] == guid_of(points[2])
    assert pool.read(f"{POOL}/again") == "three"
    words = (vault.base / "restored/tank.README").read_text()
    received = [line for line in words.splitlines() if line.startswith("zfs receive")]
    names = [line.rpartition(" < ")[2] for line in received]
    assert names == sorted(one.name for one in (vault.base / "restored/tank").iterdir())
    assert guid_of(points[2]) in words

    older = vault.restore(vault.base / "older", points[0].id, into={"tank": f"zfs:{POOL}/older"})
    assert older.verdict is Verdict.PROVEN
    assert pool.read(f"{POOL}/older") == "one"


def test_a_drill_without_zfs_is_unproven(vault: Vault, pool: Pool, tmp_path: Path) -> None:
    backup(vault)
    empty = tmp_path / "nothing"
    empty.mkdir()
    away = stream(replace(vault, environment={**vault.environment, "PATH": str(empty)}))
    drilled = vault.drill(Wiring({}, {}, {"tank": away}))
    (records,) = [one for one in drilled.checks if one.name == "records"]
    assert records.verdict is Verdict.UNPROVEN
    assert "zpool" in records.detail
    assert "zfsutils-linux" in records.detail


def test_a_locked_dataset_is_sent_raw_and_never_plain(vault: Vault, pool: Pool) -> None:
    pool.write(DATASET, "secret")
    pool.lock(DATASET)
    manifest = backup(vault)
    (dataset,) = manifest.source("tank").observation.details["datasets"]
    assert dataset["encryption"]["keystatus"] == "unavailable"
    result, _ = _unproven(vault, use(vault, raw=False))
    assert "key" in result.sources[0].reason
    assert "raw: true" in result.sources[0].reason


def test_a_plain_stream_of_an_encrypted_dataset_is_told(vault: Vault, pool: Pool) -> None:
    use(vault, raw=False)
    manifest = backup(vault)
    assert findings(manifest) == ["plain-stream"]


def test_what_is_below_comes_along(vault: Vault, pool: Pool) -> None:
    use(vault, recursive=True)
    pool.create(f"{DATASET}/inner")
    pool.write(f"{DATASET}/inner", "inside")
    backup(vault)
    pool.create(f"{DATASET}/later")
    pool.write(f"{DATASET}/later", "new")
    manifest = backup(vault)
    assert told(manifest)["kind"] == "increment"
    assert [one.name for one in manifest.source("tank").observation.collections] == [
        ".",
        "inner",
        "later",
    ]
    restored = vault.restore(vault.base / "restored", into={"tank": f"zfs:{POOL}/again"})
    assert restored.verdict is Verdict.PROVEN, restored.checks
    found = pool.snapshots()
    for one in told(manifest)["snapshots"]:
        name = one["dataset"].replace(DATASET, f"{POOL}/again")
        assert found[f"{name}@{one['name']}"] == one["guid"]


def test_a_full_one_begins_anew_when_the_policy_says(vault: Vault, pool: Pool) -> None:
    use(vault, full_every=2)
    kinds = [told(backup(vault))["kind"] for _ in range(3)]
    assert kinds == ["full", "increment", "full"]
    use(vault, incremental=False)
    assert told(backup(vault))["kind"] == "full"


def test_without_the_snapshot_before_it_is_sent_in_full_and_told(vault: Vault, pool: Pool) -> None:
    backup(vault)
    pool.zfs("release", "llmvault", ours(pool)[0])
    pool.zfs("destroy", ours(pool)[0])
    manifest = backup(vault)
    assert told(manifest)["kind"] == "full"
    assert "is gone" in told(manifest)["reason"]
    assert findings(manifest) == ["sent-in-full"]
    assert "in full, not as an increment" in manifest.source("tank").reason


def test_a_missing_link_is_refused_before_anything_is_received(vault: Vault, pool: Pool) -> None:
    first = backup(vault)
    second = backup(vault)
    vault.restic("forget", first.source("tank").snapshots["primary"])
    before = pool.snapshots()
    with pytest.raises(UnavailableError, match=first.id) as raised:
        vault.restore(vault.base / "restored", second.id, into={"tank": f"zfs:{POOL}/again"})
    assert "not in repository" in raised.value.cause
    assert pool.snapshots() == before
    third = backup(vault)
    assert told(third)["kind"] == "full"
    assert f"lacks the stream of {first.id}" in told(third)["reason"]


def test_a_new_repository_gets_a_chain_of_its_own(vault: Vault, pool: Pool) -> None:
    backup(vault)
    vault.add_repository("second")
    manifest = backup(vault)
    assert told(manifest)["kind"] == "full"
    assert set(manifest.source("tank").snapshots) == {"primary", "second"}
    assert told(backup(vault))["kind"] == "increment"


def test_what_exists_is_never_received_over(vault: Vault, pool: Pool) -> None:
    backup(vault)
    pool.create(f"{POOL}/there")
    before = pool.snapshots()
    for name, target in enumerate((DATASET, f"{DATASET}/below", f"{POOL}/there", POOL)):
        with pytest.raises(RefusedError):
            vault.restore(vault.base / f"r{name}", into={"tank": f"zfs:{target}"})
    with pytest.raises(PolicyError):
        vault.restore(vault.base / "odd", into={"tank": f"zfs:{POOL}/a@b"})
    with pytest.raises(UnavailableError, match="does not exist"):
        vault.restore(vault.base / "no", into={"tank": "zfs:nosuchpool/x"})
    assert pool.snapshots() == before


def test_a_stream_that_is_cut_short_is_not_received(vault: Vault, pool: Pool) -> None:
    pool.write(DATASET, "one")
    backup(vault)
    backup(vault)
    restored = vault.restore(vault.base / "restored").target / "tank"
    recorded = backup(vault).source("tank").observation
    before = pool.snapshots()
    source = vault.sources["tank"]
    assert isinstance(source, ZfsStream)
    _, last = sorted(restored.iterdir())
    last.write_bytes(last.read_bytes()[:-400])
    with pytest.raises(IntegrityError, match="cut short"):
        source.load(restored, f"zfs:{POOL}/again")
    assert [one.verdict for one in source.check(restored, recorded)] == [Verdict.FAILED]
    last.write_bytes(os.urandom(1 << 16))
    with pytest.raises(IntegrityError, match="does not begin"):
        source.load(restored, f"zfs:{POOL}/again")
    last.unlink()
    (first,) = restored.iterdir()
    first.rename(restored / last.name)
    with pytest.raises(IntegrityError, match="is missing"):
        source.load(restored, f"zfs:{POOL}/again")
    assert pool.snapshots() == before


def test_a_second_stream_that_fails_leaves_nothing_received(vault: Vault, pool: Pool) -> None:
    pool.write(DATASET, "one")
    backup(vault)
    backup(vault)
    restored = vault.restore(vault.base / "restored").target / "tank"
    _, last = sorted(restored.iterdir())
    whole = last.read_bytes()
    last.write_bytes(whole[:312] + whole[-312:])  # a beginning and an end, and nothing between
    before = pool.snapshots()
    source = vault.sources["tank"]
    assert isinstance(source, ZfsStream)
    with pytest.raises(VaultError):
        source.load(restored, f"zfs:{POOL}/again")
    assert pool.snapshots() == before


def test_what_a_killed_run_left_is_swept_and_nothing_else(vault: Vault, pool: Pool) -> None:
    pool.write(DATASET, "one")
    first = backup(vault)
    pool.zfs("snapshot", f"{DATASET}{OURS}of-somebody-else")
    child = os.fork()
    if child == 0:  # pragma: no cover
        die_while_sending(vault)
    os.waitpid(child, 0)
    left = f"{DATASET}{OURS}rp-killed"
    assert left in ours(pool)
    second = backup(vault)
    assert told(second)["base"] == first.id
    assert findings(second) == ["swept"]
    assert sorted(ours(pool)) == sorted(
        [f"{DATASET}{OURS}of-somebody-else", f"{DATASET}{OURS}{second.id}"]
    )


def die_while_sending(vault: Vault) -> None:  # pragma: no cover
    try:
        source = stream(vault).building(Building(PLAN, "rp-killed"))
        with source.capture(vault.base) as capture:
            assert isinstance(capture, StreamCapture)
            next(capture.chunks)
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)


def test_a_volume_comes_back(vault: Vault, pool: Pool) -> None:
    if isinstance(pool, FakePool):
        pytest.skip("the fake program has no volumes")
    pool.zfs("create", "-V", "16M", f"{POOL}/volume")
    use(vault, dataset=f"{POOL}/volume")
    backup(vault)
    manifest = backup(vault)
    restored = vault.restore(vault.base / "restored", into={"tank": f"zfs:{POOL}/again"})
    assert restored.verdict is Verdict.PROVEN, restored.checks
    assert guid_of(manifest) in pool.snapshots().values()


def test_what_full_streams_and_increments_cost(vault: Vault, pool: Pool) -> None:
    """restic recognises nothing of a stream that it has: each record holds its snapshot's guid."""
    if isinstance(pool, FakePool):
        pytest.skip("only real streams have a cost")
    size = 48 * MIB
    folder = Path(pool.zfs("get", "-Hp", "-o", "value", "mountpoint", DATASET))
    (folder / "large").write_bytes(os.urandom(size))
    added = {}
    for name, incremental in (("full", True), ("full again", False), ("increment", True)):
        (folder / "small").write_bytes(os.urandom(MIB))
        use(vault, incremental=incremental)
        result, _ = vault.backup()
        assert result.verdict is Verdict.PROVEN, result.sources
        added[name] = result.sources[0].bytes_added
    print(f"\nstored of {size} bytes of which {MIB} changed: {added}")
    assert added["full again"] > 0.9 * size
    assert added["increment"] < 2 * MIB


def test_a_dataset_that_is_not_there(vault: Vault, pool: Pool) -> None:
    source = stream(vault, dataset=f"{POOL}/nosuch")
    with pytest.raises(UnavailableError, match="does not exist"):
        source.observe()


def test_a_send_that_fails_makes_no_snapshot(vault: Vault, pool: Pool) -> None:
    if not isinstance(pool, FakePool):
        pytest.skip("a real pool does not fail when asked to")
    first = backup(vault)
    pool.change(cut="")
    result, manifest = _unproven(vault)
    assert "Input/output error" in result.sources[0].reason
    assert manifest.source("tank").snapshots == {}
    assert ours(pool) == [f"{DATASET}{OURS}{first.id}"], "what the next one builds on is kept"
    pool.change()
    assert told(backup(vault))["base"] == first.id


class AsNobody(LocalRunner):
    """Runs ``zfs`` as a user without rights."""

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        as_nobody = Command((*nobody, *command.argv), command.environment)
        return super().run(as_nobody, stdin=stdin, timeout=timeout)


def test_without_permission_the_next_step_is_told(vault: Vault, pool: Pool) -> None:
    if isinstance(pool, FakePool):
        pool.change(snapshot=f"cannot create snapshots : permission denied\n{DATASET}")
        runner = LocalRunner(vault.environment)
    else:
        runner = AsNobody(vault.environment)
    ports = replace(local_ports(vault.environment), runner=runner, keep=vault.state / "records")
    values = {"kind": "zfs_stream", "dataset": DATASET}
    vault.add(ZfsStream("tank", ZfsStreamSource.model_validate(values), ports))
    result, _ = _unproven(vault)
    assert "zfs allow USER send,snapshot,hold" in result.sources[0].reason
    assert ours(pool) == []


def test_a_snapshot_that_cannot_be_destroyed_is_told(vault: Vault, pool: Pool) -> None:
    if not isinstance(pool, FakePool):
        pytest.skip("a real pool does not fail when asked to")
    backup(vault)
    pool.change(destroy="cannot destroy snapshot: dataset is busy")
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert [one.name for one in result.checks] == ["snapshots"]
    again, _ = _unproven(vault)
    assert "is busy" in again.sources[0].reason
    assert again.sources[0].snapshot, "it is backed up all the same"
    pool.change()
    backup(vault)
    assert len(ours(pool)) == 1


def test_an_unreadable_journal_is_an_error(vault: Vault, pool: Pool) -> None:
    backup(vault)
    (path,) = (vault.state / "records/zfs-streams").rglob("*.json")
    path.write_text(json.dumps({"kept": 1}))
    result, _ = _unproven(vault)
    assert str(path) in result.sources[0].reason


def _unproven(vault: Vault, _: object = None) -> tuple[BackupResult, Manifest]:
    result, manifest = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    return result, manifest
