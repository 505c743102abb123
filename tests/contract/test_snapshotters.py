"""The contract of snapshotters, on each that can run here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.snapshotters.btrfs import BtrfsSnapshotter
from llmvault.snapshotters.interface import SnapshotterPorts
from llmvault.snapshotters.lvm import LvmSnapshotter
from llmvault.snapshotters.mounts import read_mounts
from llmvault.snapshotters.zfs import ZfsSnapshotter
from tests.contract.snapshotter import SnapshotterContract, SnapshotterExample
from tests.fakes.snapshotter import FakeSnapshotter
from tests.filesystems import btrfs, run, volume_group, zpool
from tests.vault import clean_environment

pytestmark = pytest.mark.integration


def ports() -> SnapshotterPorts:
    return SnapshotterPorts(LocalRunner(clean_environment()), SystemClock(), read_mounts)


class TestFake(SnapshotterContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SnapshotterExample:
        fake = FakeSnapshotter(tmp_path / "fakefs", tmp_path / "kept")
        live = fake.live / "srv"
        live.mkdir(parents=True)

        def make_foreign() -> str:
            (fake.kept / "before-upgrade").mkdir(parents=True)
            return "before-upgrade"

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        return SnapshotterExample(
            snapshotter=fake,
            ports=fake.ports,
            live=live,
            elsewhere=elsewhere,
            make_foreign=make_foreign,
            existing=fake.existing,
            private=tmp_path / "private",
            is_filesystem=False,
        )


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("btrfs")) as point:
        yield point


class TestBtrfs(SnapshotterContract):
    @pytest.fixture
    def example(self, filesystem: Path, tmp_path: Path) -> SnapshotterExample:
        number = len(list(filesystem.iterdir()))
        live = filesystem / f"srv-{number}"
        run("btrfs", "subvolume", "create", str(live))
        (live / "deep").mkdir()
        nested = live / "deep" / "inner"
        run("btrfs", "subvolume", "create", str(nested))
        foreign = filesystem / f"before-upgrade-{number}"

        def make_foreign() -> str:
            run("btrfs", "subvolume", "snapshot", "-r", str(live), str(foreign))
            return str(foreign)

        def existing() -> set[str]:
            listed = run("btrfs", "subvolume", "list", "-s", str(filesystem)).splitlines()
            return {str(filesystem / line.rpartition(" path ")[2]) for line in listed}

        return SnapshotterExample(
            snapshotter=BtrfsSnapshotter(ports()),
            ports=ports(),
            live=live,
            elsewhere=tmp_path,
            make_foreign=make_foreign,
            existing=existing,
            private=tmp_path / "private",
            nested=nested,
        )

    def test_a_directory_below_a_subvolume_is_in_its_snapshot(
        self, example: SnapshotterExample
    ) -> None:
        inner = example.live / "deep"
        (inner / "file").write_bytes(b"x")
        example.live = inner
        with example.taken() as taken:
            assert (example.place(taken) / "file").read_bytes() == b"x"

    def test_a_snapshot_with_a_subvolume_of_a_user_in_its_name_is_kept(
        self, example: SnapshotterExample
    ) -> None:
        """A plain directory with our name is no subvolume, and btrfs refuses to delete it."""
        place = example.live / ".llmvault-snapshot-mine"
        place.mkdir()
        (place / "file").write_bytes(b"x")
        with pytest.raises(Exception, match="ended with"):
            example.snapshotter.destroy(str(place))
        assert (place / "file").read_bytes() == b"x"
        assert subprocess.run(("rm", "-r", str(place)), check=False).returncode == 0


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with zpool(tmp_path_factory.mktemp("zfs"), "contract") as point:
        yield point


class TestZfs(SnapshotterContract):
    @pytest.fixture
    def example(self, pool: Path, tmp_path: Path) -> SnapshotterExample:
        number = len(list(pool.iterdir()))
        dataset, live = f"contract/srv-{number}", pool / f"srv-{number}"
        run("zfs", "create", dataset)
        run("zfs", "create", f"{dataset}/deep")

        def make_foreign() -> str:
            run("zfs", "snapshot", f"{dataset}@before-upgrade")
            return f"{dataset}@before-upgrade"

        def existing() -> set[str]:
            return set(run("zfs", "list", "-H", "-o", "name", "-t", "snapshot").splitlines())

        return SnapshotterExample(
            snapshotter=ZfsSnapshotter(ports()),
            ports=ports(),
            live=live,
            elsewhere=tmp_path,
            make_foreign=make_foreign,
            existing=existing,
            private=tmp_path / "private",
            nested=live / "deep",
        )


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with volume_group(tmp_path_factory.mktemp("lvm"), "contract") as point:
        yield point


class TestLvm(SnapshotterContract):
    @pytest.fixture
    def example(self, group: Path, tmp_path: Path) -> Iterator[SnapshotterExample]:
        live = group / f"srv-{len(list(group.iterdir()))}"
        live.mkdir()

        def make_foreign() -> str:
            origin = ("--extents", "10%ORIGIN", "contract/data")
            run("lvcreate", "--yes", "--snapshot", "--name", "before-upgrade", *origin)
            return "contract/before-upgrade"

        def existing() -> set[str]:
            listed = run("lvs", "--noheadings", "--options", "lv_name", "contract").split()
            return {f"contract/{name}" for name in listed}

        yield SnapshotterExample(
            snapshotter=LvmSnapshotter(ports()),
            ports=ports(),
            live=live,
            elsewhere=tmp_path,
            make_foreign=make_foreign,
            existing=existing,
            private=tmp_path / "private",
        )
        if "contract/before-upgrade" in existing():
            run("lvremove", "--yes", "contract/before-upgrade")
