"""``llmvault schedule install``: judged by the real systemd-analyze."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.deployment import Completed, Deployment

pytestmark = pytest.mark.system
_SNAPSHOTS = "plans: {nightly: {snapshot: auto}}\n"
_CREDENTIALS = "repositories: {primary: {password: 'credential:repository'}}\n"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def install(deployment: Deployment, place: Path, *options: str) -> Completed:
    return deployment.run("schedule", "install", "--json", "--directory", str(place), *options)


def exposure(unit: Path) -> float:
    """Return what ``systemd-analyze security`` says, from 0 (none) to 10."""
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (line,) = [one for one in told.splitlines() if "Overall exposure level" in one]
    return float(line.rpartition(": ")[2].split()[0])


@needs_systemd
@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ((), ""),
        (("--user", "backup"), ""),
        (("--gpu",), ""),
        ((), _CREDENTIALS),
        ((), _SNAPSHOTS),
        (("--gpu",), _SNAPSHOTS),
        (("--user", "backup"), _SNAPSHOTS),
        (("--user", "backup", "--gpu"), _SNAPSHOTS),
    ],
    ids=str,
)
def test_the_units_are_right_and_confined(
    fresh: Deployment, tmp_path: Path, options: tuple[str, ...], policy: str
) -> None:
    if policy:
        fresh.override(policy)
    done = install(fresh, tmp_path, *options)
    assert done.exit_code == 0, done
    units = sorted(tmp_path.glob("llmvault*"))
    assert {str(unit) for unit in units} == set(done.document["files"])
    verified = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    services = [unit for unit in units if unit.suffix == ".service"]
    assert len(services) == (2 if policy == _SNAPSHOTS else 1)
    for unit in services:
        assert exposure(unit) < 3.0, unit


def test_only_the_unit_of_backups_may_mount(fresh: Deployment, tmp_path: Path) -> None:
    fresh.override(_SNAPSHOTS)
    assert install(fresh, tmp_path).exit_code == 0
    scheduler, backup = (
        (tmp_path / name).read_text() for name in ("llmvault.service", "llmvault-backup@.service")
    )
    for word in ("SYS_ADMIN", "@mount"):
        assert word in backup
        assert word not in scheduler
    assert "Environment=LLMVAULT_BACKUPS=/run/llmvault/backups.sock" in scheduler
    assert (
        "ListenStream=/run/llmvault/backups.sock"
        in (tmp_path / "llmvault-backup.socket").read_text()
    )
    fresh.override("plans: {nightly: {snapshot: none}}\n")
    assert install(fresh, tmp_path).exit_code == 0
    assert [unit.name for unit in tmp_path.glob("llmvault*")] == ["llmvault.service"]


def test_the_unit_says_what_it_must(fresh: Deployment, tmp_path: Path) -> None:
    fresh.override(_CREDENTIALS)
    fresh.override("notify: {log: {kind: file, path: /var/log/vault/told.jsonl}}", "told")
    done = install(fresh, tmp_path, "--finish-within", "2m")
    text = (tmp_path / "llmvault.service").read_text()
    for line in (
        "Restart=on-failure",
        "KillMode=mixed",
        "TimeoutStopSec=150s",
        "ExecReload=kill -HUP $MAINPID",
        "LoadCredential=repository:/etc/llmvault/credentials/repository",
        f"Environment=LLMVAULT_POLICIES={fresh.policies}",
    ):
        assert line in text.splitlines()
    assert f"-{fresh.repository}" in text
    assert "-/var/log/vault" in text
    assert done.document["next_step"].startswith("systemctl daemon-reload")
    again = install(fresh, tmp_path)
    assert again.exit_code == 0, "what it wrote itself it may replace"


def test_a_crontab_starts_it_at_boot_and_again(fresh: Deployment, tmp_path: Path) -> None:
    done = install(fresh, tmp_path, "--crontab", "--user", "backup")
    assert done.exit_code == 0, done
    lines = (tmp_path / "llmvault").read_text().splitlines()
    starts = [line for line in lines if "schedule run" in line]
    assert [line.split()[0] for line in starts] == ["@reboot", "*/5"]
    assert all(" backup " in line for line in starts)
    assert f"LLMVAULT_STATE={fresh.state}" in lines


def test_a_file_of_somebody_else_is_left_alone(fresh: Deployment, tmp_path: Path) -> None:
    (tmp_path / "llmvault.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = install(fresh, tmp_path)
    assert done.exit_code == 4
    assert (tmp_path / "llmvault.service").read_text().startswith("[Service]")
    blocked = install(fresh, tmp_path / "llmvault.service" / "below")
    assert blocked.exit_code == 5
    assert json.loads(blocked.stdout)["error"]["next_step"]
