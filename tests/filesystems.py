"""Real filesystems for tests: made on files, mounted, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20


def run(*argv: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout.strip()


def need(*programs: str) -> None:
    """Skip the test, with the reason, unless this is root and the programs are there."""
    if os.geteuid() != 0:
        pytest.skip("mounting a filesystem needs root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@contextmanager
def btrfs(directory: Path, *, size_mib: int = 512) -> Iterator[Path]:
    """Mount a new btrfs on a file below a directory; yield its mount point."""
    need("mkfs.btrfs", "btrfs", "losetup", "mount")
    with on_loop(directory, "btrfs", size_mib) as device:
        run("mkfs.btrfs", "--quiet", device)
        point = directory / "btrfs"
        point.mkdir()
        mounted = subprocess.run(
            ("mount", "-t", "btrfs", device, str(point)),
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"btrfs cannot be mounted: {mounted.stderr.strip()}")
        try:
            yield point
        finally:
            unmount(point)


@contextmanager
def on_loop(directory: Path, name: str, size_mib: int) -> Iterator[str]:
    """Make a file a loop device; yield the device."""
    need("losetup")
    image = directory / f"{name}.img"
    with image.open("wb") as stream:
        stream.truncate(size_mib * MIB)
    made = subprocess.run(
        ("losetup", "--find", "--show", str(image)), capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    try:
        yield made.stdout.strip()
    finally:
        run("losetup", "--detach", made.stdout.strip())


@contextmanager
def ext4(directory: Path, name: str, size_mib: int) -> Iterator[Path]:
    """Mount a new ext4 on a loop device; yield its mount point."""
    need("mkfs.ext4", "mount")
    with on_loop(directory, name, size_mib) as device:
        run("mkfs.ext4", "-q", device)
        point = directory / name
        point.mkdir(exist_ok=True)
        mounted = subprocess.run(
            ("mount", device, str(point)), capture_output=True, text=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"ext4 cannot be mounted: {mounted.stderr.strip()}")
        try:
            yield point
        finally:
            unmount(point)


@contextmanager
def zpool(directory: Path, name: str, *, size_mib: int = 512) -> Iterator[Path]:
    """Make a pool on a file; yield the directory below which its datasets are mounted."""
    need("zfs", "zpool")
    if not os.access("/dev/zfs", os.W_OK):
        pytest.skip("this kernel has no ZFS; scripts/test-zfs runs this in one that has")
    image = directory / f"{name}.pool"
    with image.open("wb") as stream:
        stream.truncate(size_mib * MIB)
    point = directory / name
    run("zpool", "create", "-m", str(point), name, str(image))
    try:
        yield point
    finally:
        run("zpool", "destroy", "-f", name)


def read_anew(pool: str, directory: Path) -> None:
    """Export and import a pool, and forget the kernel's cache, so that reads reach the device."""
    run("zpool", "export", pool)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    run("zpool", "import", "-d", str(directory), pool)


@contextmanager
def volume_group(directory: Path, name: str) -> Iterator[Path]:
    """Make a volume group with one logical volume, ``data``; yield where its ext4 is mounted."""
    need("lvcreate", "lvs", "mkfs.ext4")
    if not Path("/dev/mapper/control").exists():
        pytest.skip("this kernel has no device-mapper; scripts/test-zfs runs this in one that has")
    with on_loop(directory, name, 512) as device:
        run("pvcreate", device)
        run("vgcreate", name, device)
        point = directory / f"{name}-data"
        point.mkdir()
        try:
            run("lvcreate", "--yes", "--name", "data", "--size", "128m", name)
            run("mkfs.ext4", "-q", f"/dev/{name}/data")
            run("mount", f"/dev/{name}/data", str(point))
            yield point
        finally:
            unmount(point)
            run("vgremove", "--yes", "--force", name)


def unmount(point: Path) -> None:
    """Unmount; what a test has just stopped may still hold it for a moment."""
    give_up = time.monotonic() + 30
    while True:
        done = subprocess.run(("umount", str(point)), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        assert time.monotonic() < give_up, done.stderr
        time.sleep(0.1)


def device_of(point: Path) -> str:
    """Return the name of the device that is mounted on a directory, e.g. ``loop0``."""
    return Path(run("findmnt", "--noheadings", "--output", "SOURCE", str(point))).name


def forget_cached(point: Path) -> None:
    """Unmount and mount again, so that the next read is one of the device."""
    device = f"/dev/{device_of(point)}"
    unmount(point)
    run("mount", "-t", "btrfs", device, str(point))


def bytes_read(device: str) -> int:
    """Return how many bytes were read from a device since it exists."""
    sectors = int(Path(f"/sys/block/{device}/stat").read_text().split()[2])
    return sectors * 512
