"""Killed at any moment, told to end, started twice: the next run understands what it finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Completed, Deployment, command_line

pytestmark = pytest.mark.system

WITHOUT_GOLDENS = "plans: {nightly: {drill: {goldens: [], engines: []}}}"
MANIFEST = "recovery-point.jsonl"


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill a process, which cannot know of it, after a while; the ones it started are left."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def restic_of(deployment: Deployment, word: str) -> set[int]:
    """Return the running restic processes whose command line holds a word."""
    found = ((pid, command_line(pid)) for pid in deployment.processes())
    return {pid for pid, line in found if "/restic " in line and word in line}


def assert_clean(deployment: Deployment) -> None:
    """Nothing is left of runs that have ended: no process, no lock, no staging, no scratch."""
    deployment.wait_until_still()
    assert list((deployment.repository / "locks").iterdir()) == []
    for place in ("staging", "scratch"):
        folder = deployment.state / place
        assert not folder.exists() or list(folder.rglob("*")) == [], place


def proven(done: Completed) -> Completed:
    """Return a command line that has proven something."""
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    return done


def sound(deployment: Deployment) -> bool:
    """Return whether restic finds nothing wrong with the repository."""
    return "no errors were found" in deployment.restic("check", "--read-data").stdout


def test_a_backup_killed_at_any_moment(fresh: Deployment) -> None:
    fresh.override(WITHOUT_GOLDENS)
    for number in range(8):
        (fresh.live / "model" / f"noise-{number}.dat").write_bytes(os.urandom(4 << 20))
    for tenths in range(4, 14):
        kill_after(fresh.start("backup"), tenths / 10)
        fresh.wait_until_still()
    fresh.override("plans: {nightly: {drill: {engines: [language], goldens: [answers]}}}")
    proven(fresh.run("backup", "--json"))
    assert sound(fresh)
    proven(fresh.run("drill", "--json"))
    listed = fresh.run("recovery-points", "list", "--scan", "--json").document["recovery_points"]
    assert {point["verdict"] for point in listed} == {"proven"}
    assert_clean(fresh)


def test_a_backup_killed_while_its_manifest_is_stored(point: Deployment) -> None:
    point.override(WITHOUT_GOLDENS)
    for milliseconds in (0, 30, 80, 150, 250):
        process = point.start("backup")
        seen = False
        while not seen and process.poll() is None:
            others = restic_of(point, "backup") - restic_of(point, MANIFEST)
            seen = bool(restic_of(point, MANIFEST)) and not others
        kill_after(process, milliseconds / 1000)
        point.wait_until_still()
        target = str(point.base / f"out-{milliseconds}")
        proven(point.run("restore", "latest", "--source", "configs", "--target", target, "--json"))
    point.override("{}")
    proven(point.run("backup", "--json"))
    proven(point.run("drill", "--json"))
    assert sound(point)
    assert_clean(point)


def test_a_torn_manifest_is_passed_over(point: Deployment) -> None:
    (whole,) = (point.state / "recovery-points").glob("*.jsonl")
    data = whole.read_bytes().replace(whole.stem.encode(), b"rp-20990101T000000Z-000000")
    tags = ("manifest", "plan=nightly", "recovery-point=rp-20990101T000000Z-000000")
    stored = subprocess.run(
        [
            *("restic", "backup", "--stdin", "--stdin-filename", MANIFEST, "--host", "tests"),
            *(word for tag in tags for word in ("--tag", f"llmvault:{tag}")),
        ],
        input=data[:-20],
        env=point.variables(
            {"RESTIC_REPOSITORY": str(point.repository), "RESTIC_PASSWORD": PASSWORD}
        ),
        capture_output=True,
        check=False,
    )
    assert stored.returncode == 0, stored.stderr
    drill = proven(point.run("drill", "--json"))
    assert drill.document["recovery_point"] == whole.stem
    target = str(point.base / "out")
    restore = proven(point.run("restore", "latest", "--target", target, "--json"))
    assert restore.document["recovery_point"] == whole.stem
    proven(point.run("drill", "--recovery-point", "random", "--json"))
    listed = point.run("recovery-points", "list", "--scan", "--json").document["recovery_points"]
    assert [one["id"] for one in listed] == [whole.stem]


def wait_for(process: subprocess.Popen[bytes], place: Path, pattern: str) -> None:
    """Wait until something matches a pattern below a folder, or the process has ended."""
    while not any(place.glob(pattern)) and process.poll() is None:
        time.sleep(0.005)


def test_a_drill_killed_at_any_moment(point: Deployment) -> None:
    leftovers = 0
    for hundredths in (0, 5, 10, 20, 30, 45, 60, 80):
        process = point.start("drill")
        wait_for(process, point.state / "scratch", "llmvault-*/*")
        kill_after(process, hundredths / 100)
        point.wait_until_still()
        leftovers += any((point.state / "scratch").iterdir())
    assert leftovers > 2, "drills were not killed while they had something on the scratch host"
    done = proven(point.run("drill", "--json"))
    (swept,) = [check for check in done.document["checks"] if check["name"] == "leftovers"]
    assert swept["verdict"] == "proven"
    assert_clean(point)
    assert sound(point)


def test_a_restore_killed_at_any_moment(point: Deployment, tmp_path: Path) -> None:
    for hundredths in (0, 5, 10, 20, 30):
        target = tmp_path / f"out-{hundredths}"
        process = point.start("restore", "latest", "--target", str(target))
        wait_for(process, target, "*")
        kill_after(process, hundredths / 100)
        point.wait_until_still()
    refused = point.run("restore", "latest", "--target", str(tmp_path / "out-0"), "--json")
    assert refused.exit_code == 4
    assert "it is not empty" in refused.error["cause"]
    proven(point.run("restore", "latest", "--target", str(tmp_path / "new"), "--json"))
    assert point.processes() == set()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_backup_that_is_told_to_end(fresh: Deployment, number: signal.Signals, code: int) -> None:
    fresh.override(WITHOUT_GOLDENS)
    with (fresh.live / "model" / "huge.dat").open("wb") as stream:
        stream.truncate(64 << 30)  # takes no space, and restic a minute
    process = fresh.start("backup")
    _wait_for_restic(fresh, "backup")
    time.sleep(0.5)
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(20) == code
    assert time.monotonic() - began < 8
    assert_clean(fresh)
    assert fresh.run("recovery-points", "list", "--json").document == {"recovery_points": []}
    (fresh.live / "model" / "huge.dat").unlink()
    proven(fresh.run("backup", "--json"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_drill_that_is_told_to_end(
    point: Deployment, number: signal.Signals, seconds: float
) -> None:
    process = point.start("drill")
    wait_for(process, point.state / "scratch", "llmvault-*/*")
    time.sleep(seconds)
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert_clean(point)


def test_an_interruption_is_told(fresh: Deployment) -> None:
    fresh.override(WITHOUT_GOLDENS)
    with (fresh.live / "model" / "huge.dat").open("wb") as stream:
        stream.truncate(64 << 30)
    process = subprocess.Popen(
        [*fresh.command("backup", "--json")],
        env=fresh.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _wait_for_restic(fresh, "backup")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["error"]["exit_code"] == 130


def _wait_for_restic(deployment: Deployment, word: str) -> None:
    give_up = time.monotonic() + 20
    while not restic_of(deployment, word):
        assert time.monotonic() < give_up, "restic was not started"
        time.sleep(0.02)


def test_two_at_once(fresh: Deployment) -> None:
    fresh.override(WITHOUT_GOLDENS)
    with (fresh.live / "model" / "huge.dat").open("wb") as stream:
        stream.truncate(64 << 30)
    first = fresh.start("backup")
    try:
        _wait_for_restic(fresh, "backup")
        second = fresh.run("backup", "--json")
        assert second.exit_code == 5
        assert str(first.pid) in second.error["cause"]
        assert second.error["next_step"] == "wait until it has finished"
        assert first.poll() is None
    finally:
        first.terminate()
        first.wait(20)
    (fresh.live / "model" / "huge.dat").unlink()
    proven(fresh.run("backup", "--json"))
    drill = fresh.start("drill")
    try:
        wait_for(drill, fresh.state / "scratch", "llmvault-*/*")
        drill.send_signal(signal.SIGSTOP)
        refused = fresh.run("drill", "--json")
        assert refused.exit_code == 5
        assert str(drill.pid) in refused.error["cause"]
    finally:
        drill.send_signal(signal.SIGCONT)
    assert drill.wait(60) == 3  # the plan names no engine
    assert_clean(fresh)


def test_two_plans_at_once(fresh: Deployment) -> None:
    fresh.override(
        """
        plans:
          nightly: {sources: [model], drill: {goldens: [], engines: []}}
          hourly: {sources: [configs], repositories: [primary]}
        """
    )
    for _ in range(2):
        running = [fresh.start("backup", plan) for plan in ("nightly", "hourly")]
        assert [process.wait(60) for process in running] == [0, 0]
    listed = fresh.run("recovery-points", "list", "--json").document["recovery_points"]
    assert sorted(point["plan"] for point in listed) == ["hourly"] * 2 + ["nightly"] * 2
    together = fresh.run("backup", "--json")
    assert (together.exit_code, together.document["verdict"]) == (0, "proven")
    assert [one["plan"] for one in together.document["backups"]] == ["nightly", "hourly"]
    unnamed = fresh.run("drill", "--json")
    assert unnamed.exit_code == 2
    assert "hourly" in unnamed.error["next_step"]
    assert_clean(fresh)
