"""Backups read from snapshots of a real pool; skipped where the kernel has no ZFS."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from llmvault.backup.model import BackupResult, SourceResult
from llmvault.core.clock import SystemClock
from llmvault.core.process import Command, Completed, LocalRunner
from llmvault.core.verdict import Verdict
from llmvault.recovery_points.model import Manifest
from llmvault.snapshotters.interface import SnapshotterPorts
from llmvault.snapshotters.mounts import read_mounts
from llmvault.snapshotters.run import Snapshots
from tests.fakes.sources import FolderSource
from tests.filesystems import MIB, bytes_read, device_of, ext4, read_anew, run, zpool
from tests.vault import Vault, clean_environment, write_tree

pytestmark = pytest.mark.integration

POOL = "llmvaulttest"


class AsNobody(LocalRunner):
    """Runs ``zfs`` as a user without rights."""

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        argv = command.argv
        if argv[0] == "zfs":
            argv = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *argv)
        done = super().run(Command(argv, command.environment), stdin=stdin, timeout=timeout)
        return Completed(command.argv, done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A filesystem of its own for the pool's file, so that what is read of it can be counted."""
    with ext4(tmp_path_factory.mktemp("disk"), "disk", 900) as point:
        yield point


@pytest.fixture(scope="module")
def pool(disk: Path) -> Iterator[Path]:
    with zpool(disk, POOL, size_mib=700) as point:
        yield point


@pytest.fixture
def live(pool: Path) -> Iterator[Path]:
    """The mount point of an encrypted dataset."""
    key = pool.parent / "key"
    key.write_bytes(b"k" * 32)
    encrypted = ("-o", "encryption=on", "-o", "keyformat=raw", "-o", f"keylocation=file://{key}")
    run("zfs", "create", *encrypted, f"{POOL}/srv")
    yield pool / "srv"
    assert our_snapshots() == [], "a snapshot was left behind"
    run("zfs", "destroy", "-R", f"{POOL}/srv")


@pytest.fixture
def vault(vault: Vault) -> Vault:
    """A vault whose sources are read from snapshots."""
    use(vault, LocalRunner(clean_environment()))
    return vault


def use(vault: Vault, runner: LocalRunner) -> None:
    ports = SnapshotterPorts(runner, SystemClock(), read_mounts)
    vault.snapshots = Snapshots(vault.state / "snapshots", ports)
    vault.snapshot = "auto"


def our_snapshots() -> list[str]:
    listed = run("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", POOL).splitlines()
    return [name for name in listed if "@llmvault-snapshot-" in name]


def proven(taken: tuple[BackupResult, Manifest]) -> tuple[SourceResult, Manifest]:
    result, manifest = taken
    assert result.verdict is Verdict.PROVEN, (result.sources, result.checks)
    return result.sources[0], manifest


def parts_of(manifest: Manifest) -> list[Mapping[str, object]]:
    parts: list[Mapping[str, object]] = manifest.source("models").observation.details["snapshot"][
        "parts"
    ]
    return parts


def test_a_dataset_is_held_while_it_is_read_and_its_encryption_is_recorded(
    vault: Vault, live: Path
) -> None:
    root = write_tree(live / "models", {"a": b"before", "inner/b": b"2"})

    def change() -> None:
        (name,) = our_snapshots()
        assert "llmvault" in run("zfs", "holds", "-H", name)
        (root / "a").write_bytes(b"after")

    vault.add(FolderSource("models", root, during=change))
    _, manifest = proven(vault.backup())
    (part,) = parts_of(manifest)
    assert str(part["snapshot"]).startswith(f"{POOL}/srv@llmvault-snapshot-rp-")
    assert part["encryption"] == {
        "encryption": "aes-256-gcm",
        "keystatus": "available",
        "keyformat": "raw",
        "encryptionroot": f"{POOL}/srv",
    }
    assert manifest.source("models").location == str(root)
    assert vault.restore(vault.base / "restored").verdict is Verdict.PROVEN
    assert (vault.base / "restored/models/a").read_bytes() == b"before"
    assert list((vault.state / "snapshots").iterdir()) == []


def test_an_unchanged_tree_is_not_read_again_through_a_new_snapshot(
    vault: Vault, live: Path, disk: Path
) -> None:
    """By restic's own counts, and by what the disk was asked for, with nothing cached."""
    size = 48 * MIB
    root = write_tree(
        live / "models", {"a.bin": os.urandom(size // 2), "b.bin": os.urandom(size // 2)}
    )
    vault.add(FolderSource("models", root))
    device = device_of(disk)
    counts = []
    for _ in range(3):
        read_anew(POOL, disk)
        run("zfs", "load-key", f"{POOL}/srv")
        run("zfs", "mount", "-a")
        before = bytes_read(device)
        result, _ = proven(vault.backup())
        counts.append(bytes_read(device) - before)
    print(f"\nread from the disk, of {size}: {counts}")
    assert counts[0] >= size
    assert max(counts[1:]) < size // 16
    assert vault.summary(result)["files_unmodified"] == 2
    assert vault.summary(result).get("data_blobs", 0) == 0


def test_datasets_below_have_snapshots_of_their_own(vault: Vault, live: Path) -> None:
    run("zfs", "create", "-p", f"{POOL}/srv/deep/deeper")
    write_tree(live, {"top": b"1", "deep/file": b"2", "deep/deeper/file": b"3"})
    vault.add(FolderSource("models", live))
    first, manifest = proven(vault.backup())
    assert first.files == 3
    parts = parts_of(manifest)
    assert len(parts) == 3
    assert len({part["createtxg"] for part in parts}) == 1, "taken at one instant"
    again, _ = proven(vault.backup())
    assert vault.summary(again)["files_unmodified"] == 3
    assert vault.restore(vault.base / "restored").verdict is Verdict.PROVEN
    assert (vault.base / "restored/models/deep/deeper/file").read_bytes() == b"3"


def test_a_locked_dataset_below_is_told(vault: Vault, live: Path) -> None:
    key = live.parent.parent / "key"
    encrypted = ("-o", "encryption=on", "-o", "keyformat=raw", "-o", f"keylocation=file://{key}")
    run("zfs", "create", *encrypted, f"{POOL}/srv/locked")
    write_tree(live, {"a": b"1", "locked/b": b"2"})
    run("zfs", "unmount", f"{POOL}/srv/locked")
    run("zfs", "unload-key", f"{POOL}/srv/locked")
    vault.add(FolderSource("models", live))
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert f"dataset {POOL}/srv/locked: its key is not loaded" in result.sources[0].reason


def test_a_user_without_rights(vault: Vault, live: Path) -> None:
    use(vault, AsNobody(clean_environment()))
    vault.add(FolderSource("models", write_tree(live / "models", {"a": b"1"})))
    result, _ = vault.backup()
    print(result.sources[0].reason)
    assert result.verdict is Verdict.UNPROVEN
    assert "permission denied" in result.sources[0].reason
    assert "zfs allow" in result.sources[0].reason
    assert our_snapshots() == []


def test_a_user_to_whom_it_was_allowed(vault: Vault, live: Path) -> None:
    run("zfs", "allow", "-u", "65534", "snapshot,hold,release,destroy,mount", f"{POOL}/srv")
    use(vault, AsNobody(clean_environment()))
    vault.add(FolderSource("models", write_tree(live / "models", {"a": b"1"})))
    proven(vault.backup())


def test_a_snapshot_limit(vault: Vault, live: Path) -> None:
    run("zfs", "allow", "-u", "65534", "snapshot,hold,release,destroy,mount", f"{POOL}/srv")
    run("zfs", "set", "snapshot_limit=0", f"{POOL}/srv")
    use(vault, AsNobody(clean_environment()))
    vault.add(FolderSource("models", write_tree(live / "models", {"a": b"1"})))
    result, _ = vault.backup()
    print(result.sources[0].reason)
    assert result.verdict is Verdict.UNPROVEN
    assert "remove old snapshots" in result.sources[0].reason


def test_a_snapshot_that_someone_else_holds_is_left_and_told(vault: Vault, live: Path) -> None:
    held: list[str] = []

    def hold() -> None:
        held.extend(our_snapshots())
        run("zfs", "hold", "mine", held[0])

    root = write_tree(live / "models", {"a": b"1"})
    vault.add(FolderSource("models", root, after=hold))
    result, manifest = vault.backup()
    assert our_snapshots() == held
    assert result.verdict is Verdict.UNPROVEN
    assert "the next run tries again" in manifest.checks[0].detail
    run("zfs", "release", "mine", held[0])
    vault.add(FolderSource("models", root))
    proven(vault.backup())


def test_what_a_dead_run_left_is_swept_and_nothing_else(vault: Vault, live: Path) -> None:
    root = write_tree(live / "models", {"a": b"1"})
    run("zfs", "snapshot", f"{POOL}/srv@before-upgrade")
    run("zfs", "snapshot", f"{POOL}/srv@llmvault-snapshot-of-another-host")
    died = os.fork()
    if died == 0:
        vault.add(FolderSource("models", root, during=lambda: os.kill(os.getpid(), 9)))
        vault.backup()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(died, 0)[1]) == 9
    assert len(our_snapshots()) == 2
    vault.add(FolderSource("models", root))
    proven(vault.backup())
    assert our_snapshots() == [f"{POOL}/srv@llmvault-snapshot-of-another-host"]
    run("zfs", "list", f"{POOL}/srv@before-upgrade")
    run("zfs", "destroy", f"{POOL}/srv@llmvault-snapshot-of-another-host")
