"""Targets that are refused, scratch space that is full, drills that died."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.deployment import Deployment

pytestmark = pytest.mark.system


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a disk of a size; skip the test where nothing can be mounted."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"not run: no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_too_little_scratch_space_is_unproven(point: Deployment, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        done = point.run("drill", "--json", more={"LLMVAULT_SCRATCH": str(disk)})
        assert list(disk.iterdir()) == []
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    verdict, detail = done.bad()[("free-space", "")]
    assert verdict == "unproven"
    assert "are free" in detail


def test_a_scratch_disk_that_fills_up_is_unproven(fresh: Deployment, tmp_path: Path) -> None:
    small_files = fresh.live / "model" / "many"
    small_files.mkdir()
    for number in range(400):  # each takes a page of the disk, whatever its size
        (small_files / f"{number}.txt").write_text("x")
    assert fresh.run("backup").exit_code == 0
    with small_disk(tmp_path / "disk", "1500k") as disk:
        done = fresh.run("drill", "--json", more={"LLMVAULT_SCRATCH": str(disk)})
        assert list(disk.iterdir()) == []
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    told = " ".join(detail for _, detail in done.bad().values())
    assert "no space left on device" in told.lower()
    assert "free space" in told


def test_a_target_on_a_full_disk(point: Deployment, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        done = point.run("restore", "latest", "--target", str(disk / "out"), "--json")
    assert done.exit_code == 5
    assert "no space left on device" in done.error["cause"].lower()
    assert str(disk) in done.error["thing"]
    assert "free space" in done.error["next_step"]


def test_a_repository_on_a_full_disk(fresh: Deployment, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        (fresh.live / "model" / "noise.dat").write_bytes(os.urandom(3 << 20))
        shutil.copytree(fresh.repository, disk / "repository")
        fresh.override(f"repositories: {{primary: {{url: {disk}/repository}}}}")
        done = fresh.run("backup", "--json")
    assert done.exit_code in (3, 5), done
    assert "no space left on device" in done.stdout.lower()


def test_targets_that_are_refused(point: Deployment, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(point.live / "model")
    for target, cause in (
        (full, "it is not empty (1 entries)"),
        (file, "it is not a directory"),
        (point.live / "model" / "below", 'source "model"'),
        (link, "it is not empty (7 entries)"),
        (point.repository / "out", 'repository "primary"'),
        (point.state / "out", "state directory"),
    ):
        done = point.run("restore", "latest", "--target", str(target), "--json")
        assert done.exit_code == 4, (target, done)
        assert done.error["thing"] == f"target {target.resolve()}"
        assert cause in done.error["cause"]
        assert done.error["next_step"]
    assert [path.name for path in full.iterdir()] == ["precious"]
    assert file.read_text() == "mine"


def test_a_scratch_place_that_touches_something_live_is_refused(point: Deployment) -> None:
    for place in (point.live, point.live / "model" / "scratch", point.repository):
        before = sorted(point.live.rglob("*"))
        done = point.run("drill", "--json", more={"LLMVAULT_SCRATCH": str(place)})
        assert done.exit_code == 4
        assert "it overlaps with" in done.error["cause"]
        assert "LLMVAULT_SCRATCH" in done.error["next_step"]
        assert sorted(point.live.rglob("*")) == before


def test_only_what_is_a_drills_is_swept(point: Deployment) -> None:
    scratch = point.state / "scratch"
    dead = scratch / "llmvault-scratch-0123456789abcdef"
    (dead / "restored").mkdir(parents=True)
    (dead / ".llmvault-scratch").write_text("scratch of a drill that died")
    foreign = scratch / "llmvault-scratch-fedcba9876543210"
    foreign.mkdir()
    (foreign / "precious").write_text("mine")
    done = point.run("drill", "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven")
    (swept,) = [check for check in done.document["checks"] if check["name"] == "leftovers"]
    assert dead.name in swept["detail"]
    assert not dead.exists()
    assert (foreign / "precious").read_text() == "mine"
