"""Locks that killed processes left heal themselves, with the reason told; live ones never.

To restic a lock is stale when its process is gone from this host, or when nobody renewed it for 30
minutes. The killed processes here are children of the test, which takes note of their death: the
holder of a lock seems alive as long as nobody has.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.locked_repository import write_lock
from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Deployment, restic_program

pytestmark = pytest.mark.system

LIVE = timedelta(minutes=29)
STALE = timedelta(minutes=31)


def locks(made: Deployment) -> set[str]:
    return {path.name for path in (made.repository / "locks").iterdir()}


def foreign(made: Deployment, age: timedelta, *, exclusive: bool) -> str:
    """Write the lock of another host, and return its id."""
    return write_lock(
        made.repository,
        host="another-host",
        process=1,
        renewed=datetime.now(UTC) - age,
        exclusive=exclusive,
    )


@contextmanager
def running_backup(made: Deployment) -> Iterator[subprocess.Popen[bytes]]:
    """Run restic itself in mid-backup: it waits for more of its standard input."""
    process = subprocess.Popen(
        [restic_program(), "backup", "--stdin", "--stdin-filename", "endless", "--quiet"],
        env=made.variables(
            {
                "RESTIC_REPOSITORY": str(made.repository),
                "RESTIC_PASSWORD": PASSWORD,
                "RESTIC_CACHE_DIR": str(made.base / "restic-cache"),
            }
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + 60
        while not locks(made):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait(60)
        assert process.stdin is not None
        process.stdin.close()


def killed_backup(made: Deployment) -> str:
    """Kill restic in mid-backup, and return the lock that it left."""
    with running_backup(made):
        (lock,) = locks(made)
    assert locks(made) == {lock}
    return lock


def test_a_backup_removes_what_killed_processes_left_and_says_why(point: Deployment) -> None:
    dead = killed_backup(point)
    old = foreign(point, STALE, exclusive=True)  # restic alone would wait, and give up
    done = point.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    assert locks(point) == set()
    assert f"removed the stale lock {dead[:8]}" in done.stderr
    assert f"removed the stale lock {old[:8]} (exclusive, process 1 on another-host" in done.stderr
    assert "that process has ended, or did not renew it for 30 minutes" in done.stderr


def test_a_restore_is_not_stopped_by_what_another_host_left(
    point: Deployment, tmp_path: Path
) -> None:
    foreign(point, STALE, exclusive=True)
    done = point.run("restore", "latest", "--target", str(tmp_path / "out"), "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    assert locks(point) == set()
    assert "removed the stale lock" in done.stderr


def test_live_locks_stay(point: Deployment) -> None:
    other = foreign(point, LIVE, exclusive=False)
    exclusive = foreign(point, LIVE, exclusive=True)
    stale = foreign(point, STALE, exclusive=False)
    verified = point.run("verify", "--all", "--json")
    assert (verified.exit_code, verified.document["verdict"]) == (0, "proven"), verified
    (repository,) = verified.document["repositories"]
    assert len(repository["stale_locks_removed"]) == 1
    assert stale[:8] in repository["stale_locks_removed"][0]
    assert locks(point) == {other, exclusive}


def test_the_lock_of_a_process_that_runs_stays_whatever_we_do(
    point: Deployment, tmp_path: Path
) -> None:
    with running_backup(point) as process:
        (live,) = locks(point)
        mine = write_lock(
            point.repository,
            host=socket.gethostname(),
            process=process.pid,
            renewed=datetime.now(UTC),
            exclusive=False,
        )
        for command in (
            ("backup", "--json"),
            ("verify", "--json"),
            ("restore", "latest", "--target", str(tmp_path / "out"), "--json"),
        ):
            done = point.run(*command)
            assert done.exit_code == 0, done
            assert "removed the stale lock" not in done.stderr
            assert {live, mine} <= locks(point)
        assert process.poll() is None
    assert point.run("backup", "--json").exit_code == 0
    assert locks(point) == set()
