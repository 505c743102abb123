"""Backups read from filesystem snapshots: on a real btrfs where there can be one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmvault.backup.model import BackupResult, SourceResult
from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.core.verdict import Verdict
from llmvault.ledger.files import LedgerFiles
from llmvault.recovery_points.model import Manifest
from llmvault.snapshotters.interface import SnapshotterPorts
from llmvault.snapshotters.mounts import read_mounts
from llmvault.snapshotters.run import Snapshots
from tests.fakes.quick_repository import PASSWORD, write_quick_repository
from tests.fakes.sources import FolderSource
from tests.filesystems import MIB, btrfs, bytes_read, device_of, forget_cached, run
from tests.vault import Vault, clean_environment, write_tree

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("btrfs")) as point:
        yield point


@pytest.fixture
def live(filesystem: Path) -> Iterator[Path]:
    """An empty subvolume."""
    place = filesystem / "srv"
    run("btrfs", "subvolume", "create", str(place))
    yield place
    assert our_snapshots(filesystem) == [], "a snapshot was left behind"
    for path in sorted(filesystem.rglob("*"), reverse=True):
        if path.is_dir() and path.stat().st_ino == 256:
            run("btrfs", "subvolume", "delete", str(path))


@pytest.fixture
def vault(vault: Vault) -> Vault:
    """A vault whose sources are read from snapshots."""
    snapshotting(vault)
    return vault


def snapshotting(
    vault: Vault, snapshot: str = "auto", environment: dict[str, str] | None = None
) -> None:
    runner = LocalRunner(environment or clean_environment())
    vault.snapshots = Snapshots(
        vault.state / "snapshots", SnapshotterPorts(runner, SystemClock(), read_mounts)
    )
    vault.snapshot = snapshot


def our_snapshots(filesystem: Path) -> list[str]:
    listed = run("btrfs", "subvolume", "list", "-s", str(filesystem)).splitlines()
    names = (line.rpartition(" path ")[2] for line in listed)
    return [name for name in names if "llmvault" in name]


def assert_nothing_left(vault: Vault) -> None:
    kept = vault.state / "snapshots"
    assert not kept.exists() or list(kept.iterdir()) == []
    assert not [mount for mount in read_mounts() if mount.point.is_relative_to(kept.resolve())]


def proven(taken: tuple[BackupResult, Manifest]) -> tuple[SourceResult, Manifest]:
    result, manifest = taken
    assert result.verdict is Verdict.PROVEN, (result.sources, result.checks)
    return result.sources[0], manifest


def test_a_source_is_read_as_it_was_when_the_run_began(
    vault: Vault, live: Path, filesystem: Path
) -> None:
    root = write_tree(live / "models", {"config.json": b"before", "inner/weights.bin": b"w" * MIB})
    source = FolderSource("models", root, during=lambda: change(root))

    def change(root: Path) -> None:
        assert len(our_snapshots(filesystem)) == 1, "held while it is read"
        (root / "config.json").write_bytes(b"after")
        (root / "new").write_bytes(b"new")

    vault.add(source)
    _, manifest = proven(vault.backup())
    record = manifest.source("models")
    assert record.location == str(root)
    told = record.observation.details["snapshot"]
    assert told["snapshotter"] == "btrfs"
    assert told["parts"][0]["subvolume"] == str(live)
    assert told["parts"][0]["uuid"]
    restored = vault.restore(vault.base / "restored")
    assert restored.verdict is Verdict.PROVEN
    assert (vault.base / "restored/models/config.json").read_bytes() == b"before"
    assert not (vault.base / "restored/models/new").exists()
    assert_nothing_left(vault)


def test_an_unchanged_tree_is_not_read_again_through_a_new_snapshot(
    vault: Vault, live: Path, filesystem: Path
) -> None:
    """By restic's own counts, and by what the device was asked for, with nothing cached."""
    size = 64 * MIB
    root = write_tree(
        live / "models", {"a.bin": os.urandom(size // 2), "b.bin": os.urandom(size // 2)}
    )
    vault.add(FolderSource("models", root))
    device = device_of(filesystem)
    seen: list[tuple[int, SourceResult]] = []
    for _ in range(3):
        forget_cached(filesystem)
        before = bytes_read(device)
        result, _ = proven(vault.backup())
        seen.append((bytes_read(device) - before, result))
    (first, _), (second, again), (third, _) = seen
    assert first >= size
    assert second < MIB, f"{second} bytes were read of {size}"
    assert third < MIB, f"{third} bytes were read of {size}"
    assert vault.summary(again)["files_unmodified"] == 2
    assert vault.summary(again).get("data_blobs", 0) == 0
    assert again.sha256_verified == 2


def test_only_what_changed_is_read_again(vault: Vault, live: Path, filesystem: Path) -> None:
    root = write_tree(
        live / "models", {"a.bin": os.urandom(32 * MIB), "b.bin": os.urandom(2 * MIB)}
    )
    vault.add(FolderSource("models", root))
    proven(vault.backup())
    (root / "b.bin").write_bytes(os.urandom(2 * MIB))
    forget_cached(filesystem)
    before = bytes_read(device_of(filesystem))
    result, _ = proven(vault.backup())
    assert 2 * MIB <= bytes_read(device_of(filesystem)) - before < 4 * MIB
    assert vault.summary(result)["files_unmodified"] == 1
    assert vault.restore(vault.base / "restored").verdict is Verdict.PROVEN


def test_going_over_to_snapshots_reads_nothing_again(vault: Vault, live: Path) -> None:
    vault.add(FolderSource("models", write_tree(live / "models", {"a.bin": b"a" * MIB})))
    vault.snapshot = "none"
    proven(vault.backup())
    vault.snapshot = "btrfs"
    result, _ = proven(vault.backup())
    assert vault.summary(result)["files_unmodified"] == 1


def test_all_sources_of_a_filesystem_are_taken_together(
    vault: Vault, live: Path, filesystem: Path
) -> None:
    first = write_tree(live / "models", {"a": b"before"})
    second = write_tree(live / "configs", {"b": b"before"})
    held: list[list[str]] = []

    def change() -> None:
        held.append(our_snapshots(filesystem))
        (second / "b").write_bytes(b"after")

    vault.add(FolderSource("models", first, during=change), FolderSource("configs", second))
    proven(vault.backup())
    assert [len(names) for names in held] == [1], "one snapshot for both"
    vault.restore(vault.base / "restored")
    assert (vault.base / "restored/configs/b").read_bytes() == b"before"


def test_nested_subvolumes_are_in_the_backup(vault: Vault, live: Path, filesystem: Path) -> None:
    run("btrfs", "subvolume", "create", str(live / "deep"))
    write_tree(live, {"top": b"1", "deep/file": b"2"})
    run("btrfs", "subvolume", "create", str(live / "deep" / "deeper"))
    write_tree(live, {"deep/deeper/file": b"3"})
    vault.add(FolderSource("models", live))
    first, manifest = proven(vault.backup())
    assert first.files == 3
    assert len(manifest.source("models").observation.details["snapshot"]["parts"]) == 3
    again, _ = proven(vault.backup())
    assert vault.summary(again)["files_unmodified"] == 3
    assert_nothing_left(vault)
    assert vault.restore(vault.base / "restored").verdict is Verdict.PROVEN
    assert (vault.base / "restored/models/deep/deeper/file").read_bytes() == b"3"


def test_another_filesystem_below_a_source_is_told(vault: Vault, live: Path) -> None:
    root = write_tree(live / "models", {"a": b"1", "scratch/.keep": b""})
    run("mount", "-t", "tmpfs", "tmpfs", str(root / "scratch"))
    try:
        write_tree(root / "scratch", {"important": b"2"})
        vault.add(FolderSource("models", root))
        result, _ = vault.backup()
    finally:
        run("umount", str(root / "scratch"))
    assert result.verdict is Verdict.UNPROVEN
    assert "tmpfs is mounted there, and no snapshot holds it" in result.sources[0].reason


def test_a_filesystem_without_snapshots_is_read_where_it_lies(vault: Vault, tmp_path: Path) -> None:
    vault.add(FolderSource("models", write_tree(tmp_path / "live", {"a": b"1"})))
    _, manifest = proven(vault.backup())
    told = manifest.source("models").observation.details["snapshot"]
    assert told["snapshotter"] == "none"
    assert "read where it lies" in told["reason"]


@pytest.mark.parametrize("named", ["btrfs", "zfs", "lvm"])
def test_a_snapshot_that_was_demanded_and_cannot_be_is_no_green_backup(
    vault: Vault, tmp_path: Path, named: str
) -> None:
    vault.snapshot = named
    vault.add(FolderSource("models", write_tree(tmp_path / "live", {"a": b"1"})))
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert f"no {named} snapshot can be taken" in result.sources[0].reason
    assert "correct `snapshot:`" in result.sources[0].reason
    assert result.sources[0].snapshot, "what can be read is kept all the same"
    assert_nothing_left(vault)


def test_a_snapshot_command_that_is_missing(vault: Vault, live: Path, tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("restic", "mount", "umount"):
        (path / program).symlink_to(shutil.which(program) or "")
    snapshotting(vault, "btrfs", {**clean_environment(), "PATH": str(path)})
    vault.add(FolderSource("models", write_tree(live / "models", {"a": b"1"})))
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert "btrfs: is not installed" in result.sources[0].reason
    assert "apt-get install btrfs-progs" in result.sources[0].reason


def test_a_filesystem_that_refuses_snapshots(vault: Vault, live: Path, filesystem: Path) -> None:
    """Mounted read-only, so that btrfs itself says no."""
    vault.add(FolderSource("models", write_tree(live / "models", {"a": b"1"})))
    run("mount", "-o", "remount,ro", str(filesystem))
    try:
        result, _ = vault.backup()
    finally:
        run("mount", "-o", "remount,rw", str(filesystem))
    assert result.verdict is Verdict.UNPROVEN
    assert "Read-only file system" in result.sources[0].reason
    assert "`snapshot: none`" in result.sources[0].reason
    assert_nothing_left(vault)


def policy(directory: Path, root: Path) -> tuple[str, ...]:
    """Write a policy with one source and one repository; return how llmvault is called with it."""
    write_quick_repository(directory / "repository")
    text = f"""
version: 1
repositories: {{primary: {{url: {directory}/repository, password: "env:SECRET"}}}}
sources: {{models: {{kind: configs, path: {root}}}}}
plans: {{nightly: {{sources: [models], repositories: [primary], snapshot: auto}}}}
"""
    write_tree(directory / "policies", {"policy.yaml": text.encode()})
    places = ("--policies", str(directory / "policies"), "--state", str(directory / "state"))
    return (sys.executable, "-m", "llmvault", "backup", "--json", *places)


def start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environment = {**clean_environment(), "SECRET": PASSWORD}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def killed_while_held(argv: tuple[str, ...], filesystem: Path) -> None:
    """Start a backup and kill it, which it cannot know of, as soon as its snapshot is there."""
    known = {*our_snapshots(filesystem)}
    process = start(argv)
    while not {*our_snapshots(filesystem)} - known:
        assert process.poll() is None, "it ended before its snapshot was seen"
    process.kill()
    process.communicate()


def test_what_a_killed_run_left_is_swept_and_nothing_else(
    live: Path, filesystem: Path, tmp_path: Path
) -> None:
    root = write_tree(live / "models", {"a.bin": os.urandom(32 * MIB)})
    run("btrfs", "subvolume", "create", str(root / "nested"))
    write_tree(root / "nested", {"b": b"2"})
    own = filesystem / "llmvault-before-the-upgrade"
    run("btrfs", "subvolume", "snapshot", "-r", str(live), str(own))
    argv = policy(tmp_path, root)
    killed_while_held(argv, filesystem)
    assert [name for name in our_snapshots(filesystem) if "snapshot-rp-" in name]
    process = start(argv)
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert json.loads(out)["verdict"] == "proven"
    assert our_snapshots(filesystem) == [own.name], "the user's own snapshot is kept"
    assert list((tmp_path / "state" / "snapshots").iterdir()) == []
    kinds = [entry.kind for entry in LedgerFiles(tmp_path / "state" / "ledger").entries()]
    assert kinds.index("snapshots.sweep.started") < kinds.index("snapshots.sweep.ended")
    assert (root / "a.bin").stat().st_size == 32 * MIB
    run("btrfs", "subvolume", "delete", str(own))


def test_two_plans_at_once_leave_each_others_snapshots_alone(
    vault: Vault, live: Path, filesystem: Path
) -> None:
    """The other plan runs, and sweeps, while the first holds its snapshot."""
    root = write_tree(live, {"a": b"before"})
    held: list[int] = []

    def other_plan() -> None:
        (root / "a").write_bytes(b"after")
        source = FolderSource("models", live, during=lambda: held.append(count()))
        other = replace(vault, sources={"models": source})
        proven(other.backup(plan="hourly"))
        held.append(count())

    def count() -> int:
        return len(our_snapshots(filesystem))

    vault.add(FolderSource("models", root, during=other_plan))
    result, manifest = proven(vault.backup())
    assert held == [2, 1]
    assert result.files == 1, "the other's snapshot is not in ours"
    assert manifest.files["models"][0].sha256 == hashlib.sha256(b"before").hexdigest()


def test_a_snapshot_that_cannot_be_destroyed_is_told_and_swept_later(
    vault: Vault, live: Path, filesystem: Path
) -> None:
    root = write_tree(live / "models", {"a": b"1"})

    def occupy() -> None:
        (name,) = our_snapshots(filesystem)
        run("btrfs", "subvolume", "set-default", str(filesystem / name))  # which must not go

    vault.add(FolderSource("models", root, after=occupy))
    result, manifest = vault.backup()
    (name,) = our_snapshots(filesystem)
    assert result.verdict is Verdict.UNPROVEN
    (check,) = [check for check in manifest.checks if check.name == "snapshots"]
    assert name in check.detail
    assert "the next run tries again" in check.detail
    run("btrfs", "subvolume", "set-default", "5", str(filesystem))
    vault.add(FolderSource("models", root))
    proven(vault.backup())
    assert_nothing_left(vault)


def test_a_full_filesystem(tmp_path: Path, vault: Vault) -> None:
    """Where no block is left for a snapshot, or where one still fits: never a green lie."""
    with btrfs(tmp_path, size_mib=128) as small:
        root = write_tree(small / "models", {"a": b"1"})
        with (small / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * MIB)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        vault.snapshot = "btrfs"
        vault.add(FolderSource("models", root))
        result, _ = vault.backup()
        if result.verdict is not Verdict.PROVEN:
            assert "No space left" in result.sources[0].reason
            assert "free space" in result.sources[0].reason
        assert our_snapshots(small) == []
    assert_nothing_left(vault)
