"""``scripts/quickstart``: the whole thing on a real deployment, as the first command of a user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.deployment import Deployment

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "scripts" / "quickstart")
RESULTS = (r"verdict: +proven$", r"measured RTO: +\d+\.\d s", r"measured RPO: +\d+\.\d s")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def set_up() -> bool:
    """Return whether scripts/setup has nothing left to install for the quickstart."""
    mark, restic = ROOT / ".venv" / ".llmvault-example", ROOT / ".venv" / ".restic-directory"
    same = mark.exists() and mark.read_bytes() == (ROOT / "pyproject.toml").read_bytes()
    return same and restic.exists()


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder with a short name (sockets go below it) that holds what shells must quote."""
    folder = Path(tempfile.mkdtemp(prefix="llmvault-quick-"))
    yield folder / "start é"
    shutil.rmtree(folder)


def shell(base: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell that knows nothing of this checkout."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd="/",
        env={
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "PATH": SYSTEM_PATH,
            "LLMVAULT_QUICKSTART": str(base),
            "LLMVAULT_TEST_MARK": str(base),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.skipif(not set_up(), reason="not run: scripts/setup test has not been run here")
def test_quickstart_twice_and_on_by_hand(base: Path) -> None:
    reports = []
    for _ in range(2):
        began = time.monotonic()
        done = shell(base, SCRIPT)
        assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
        assert time.monotonic() - began < 180
        for result in RESULTS:
            assert re.search(f"^{result}", done.stdout, re.MULTILINE), result
        report = re.findall(r"^report: +(.+)$", done.stdout, re.MULTILINE)[-1]
        assert Path(report).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        assert "restore: proven" in done.stdout
        reports.append(report)
    assert len(set(reports)) == 2
    assert Deployment(base).processes() == set()

    again = f'eval "$({SCRIPT} --env)"; llmvault status --json; restic version >&2'
    status = shell(base, again)
    assert status.returncode == 0, status.stderr
    (plan,) = json.loads(status.stdout)["plans"]
    assert (plan["verdict"], plan["drill"]["report"]) == ("proven", reports[1])
    assert "restic 0." in status.stderr
    (told,) = re.findall(r'^go on by hand: +(eval "\$\(.+--env\)")', done.stdout, re.MULTILINE)
    told = told.replace("scripts/quickstart", SCRIPT)
    by_hand = shell(Path("/nowhere"), f'{told}; echo "$LLMVAULT_STATE"')
    assert by_hand.stdout == f"{base}/state\n", by_hand


def test_wrong_usage_starts_nothing(base: Path) -> None:
    done = shell(base, f"{SCRIPT} --wrong")
    assert done.returncode == 2
    assert "usage: scripts/quickstart [--env]" in done.stderr
    assert not base.exists()
