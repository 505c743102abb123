"""The scheduler on a disk that is really full, between runs and during one, and has room again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.filesystems import ext4
from tests.servers import free_port
from tests.system.deployment import Deployment
from tests.system.test_schedule import findings, outcomes, runs, scheduler, until

pytestmark = pytest.mark.system
POLICY = """
repositories: {{primary: {{password: "cmd:sh {base}/password.sh"}}}}
jobs: {{backups: {{kind: backup, every: 2s, grace: 1h, backoff: 1s}}}}
metrics: {{listen: "127.0.0.1:{port}"}}
"""
# what a backup asks for the password: the test can keep it waiting
PASSWORD = """
touch {base}/asked
while [ -e {base}/hold ]; do sleep 0.05; done
cat {base}/secrets/password
"""


@pytest.fixture
def small_disk(fresh: Deployment) -> Iterator[Deployment]:
    """A deployment whose state directory is a filesystem of its own, of a few megabytes."""
    with ext4(fresh.base, "state", 24):
        (fresh.state / "lost+found").rmdir()
        fresh.state.chmod(0o700)
        yield fresh


def fill(directory: Path) -> Path:
    """Write until not a single byte more can be written; return the file to be removed."""
    file = directory / "filled"
    size = 1 << 20
    with file.open("wb", buffering=0) as stream:
        while size:
            try:
                stream.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2
        os.fsync(stream)
    return file


def found(port: int) -> set[str]:
    """Return what the scheduler's metrics say is wrong: its catalog cannot take it."""
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
    told = [line for line in lines if line.startswith("llmvault_finding{")]
    return {line.partition('kind="')[2].partition('"')[0] for line in told}


def test_it_finds_a_full_disk_and_goes_on_when_there_is_room(small_disk: Deployment) -> None:
    base, port = small_disk.base, free_port()
    (base / "password.sh").write_text(PASSWORD.format(base=base))
    small_disk.override(POLICY.format(base=base, port=port))
    with scheduler(small_disk) as process:
        until(lambda: "proven" in outcomes(small_disk), "a backup is made")

        filled = fill(small_disk.state)  # whatever is going on just now
        until(lambda: {"journal-unwritable", "catalog-unavailable"} <= found(port), "it is found")
        until(lambda: any(one.startswith("backup-") for one in found(port)), "runs cannot be made")
        filled.unlink()
        before = len(runs(small_disk))
        until(lambda: "proven" in outcomes(small_disk)[before:], "a backup is made again")
        until(lambda: not findings(small_disk), "nothing is wrong any more")

        (base / "hold").touch()
        (base / "asked").unlink()
        until((base / "asked").exists, "a run goes on")
        filled = fill(small_disk.state)
        (base / "hold").unlink()
        until(lambda: any(one.startswith("backup-") for one in found(port)), "it fails")
        filled.unlink()
        before = len(runs(small_disk))
        until(lambda: "proven" in outcomes(small_disk)[before:], "a backup is made again")
        until(lambda: not findings(small_disk), "nothing is wrong any more")
        assert process.poll() is None, "it was the same scheduler all the time"
    assert process.returncode == 0
    assert "running" not in outcomes(small_disk), "what happened meanwhile is entered"
    assert set(outcomes(small_disk)) - {"proven"}, "with how it ended"
    listed = small_disk.run("recovery-points", "list", "--json").document["recovery_points"]
    points = [point["id"] for point in listed]
    assert len(points) == len(set(points)) >= outcomes(small_disk).count("proven")
    assert small_disk.run("ledger", "verify", "--json").document["verdict"] != "failed"
