"""Backups that the scheduler asks for at a socket; the test starts workers, as systemd does."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from llmvault.schedule.handover import ask
from tests import filesystems
from tests.system.deployment import Deployment
from tests.system.test_schedule import OFTEN, findings, outcomes, runs, scheduler, until

pytestmark = pytest.mark.system
HANGING = "repositories: {primary: {password: 'cmd:sleep 600'}}\n"


@contextmanager
def workers(deployment: Deployment, *prefix: str) -> Iterator[dict[str, str]]:
    """Start ``schedule work`` for every connection; yield the variables of who asks there."""
    place = deployment.base / "backups.sock"
    started: list[subprocess.Popen[bytes]] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    started.append(
                        subprocess.Popen(
                            [*prefix, *deployment.command("schedule", "work")],
                            stdin=connection.fileno(),
                            stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL,
                            env=deployment.variables(),
                            cwd="/",
                        )
                    )

        thread = Thread(target=accept)
        thread.start()
        try:
            yield {"LLMVAULT_BACKUPS": str(place)}
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for process in started:
                process.wait(60)


def test_backups_are_taken_by_workers(fresh: Deployment) -> None:
    fresh.override(OFTEN)
    with workers(fresh) as asking, scheduler(fresh, more=asking):
        until(lambda: "proven" in outcomes(fresh), "a backup")
        assert not findings(fresh)
    log = max((fresh.state / "logs" / "jobs" / "backups").iterdir()).read_text()
    assert "nightly" in log, "what it printed came back"
    listed = fresh.run("recovery-points", "list", "--json").document["recovery_points"]
    assert len(listed) == outcomes(fresh).count("proven")


def test_how_one_ends_is_told(fresh: Deployment, tmp_path: Path) -> None:
    fresh.override("repositories: {primary: {password: 'file:/nowhere'}}\n")
    plain = fresh.run("backup", "nightly")
    places = ("--policies", str(fresh.policies), "--state", str(fresh.state))
    with workers(fresh) as asking:
        place = asking["LLMVAULT_BACKUPS"]
        done = fresh.run("schedule", "ask", place, "backup", "nightly")
        assert (done.exit_code, plain.exit_code != 0) == (plain.exit_code, True)
        assert plain.stderr.strip() in done.stdout
        told = fresh.run("schedule", "ask", place, "drill", "nightly", "--json")
        assert (told.exit_code, told.document["exit_code"]) == (4, 4)
        for refused in (
            ("drill", "nightly", *places),
            ("backup", "--dry-run", *places),
            ("backup", "nightly", *places[:-1], str(tmp_path)),
            ("backup",),
        ):
            *output, code = ask(Path(place), refused)
            assert code == 4, refused
            assert "only backups by this installation" in str(output)
    assert fresh.run("schedule", "ask", place, "backup", "nightly").exit_code == 5


def test_without_workers_backups_are_unavailable(fresh: Deployment) -> None:
    fresh.override(OFTEN)
    with scheduler(fresh, more={"LLMVAULT_BACKUPS": str(fresh.base / "nobody.sock")}):
        until(lambda: "backup-unavailable" in findings(fresh), "it is found")
    assert "nobody takes backups there" in runs(fresh)[0].detail


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_whoever_asked_and_ends_takes_the_backup_along(
    fresh: Deployment, number: signal.Signals
) -> None:
    fresh.override(HANGING + OFTEN)
    # when the scheduler is left, nothing may go on: neither a worker nor its backup
    with (
        workers(fresh) as asking,
        scheduler(fresh, "--finish-within", "0s", more=asking) as process,
    ):
        until(lambda: len(fresh.processes()) >= 5, "the backup asks for its password")
        process.send_signal(number)
    assert outcomes(fresh)[-1] == ("running" if number == signal.SIGKILL else "interrupted")


# What systemd makes of the unit, as far as a test can: a mount namespace of its own in which all is
# read-only but some places (ProtectSystem=strict, ReadWritePaths), and its capabilities.
CONFINE = """
set -e
findmnt --raw --noheadings --output TARGET | grep -vE '^/(proc|sys|dev)(/|$)' | while read -r at; do
    mount -o remount,bind,ro "$at"
done
for place in {writable}; do
    [ ! -e "$place" ] || {{ mount --bind "$place" "$place"; mount -o remount,bind,rw "$place"; }}
done
exec setpriv --no-new-privs --bounding-set=-all,{capabilities} -- "$@"
"""


def confinement(unit: Path, *more: Path) -> tuple[str, ...]:
    """Return what starts a program as a unit would; `more` is writable too."""
    lines = unit.read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    writable = [place.removeprefix("-") for place in settings["ReadWritePaths"].split()]
    capabilities = settings["CapabilityBoundingSet"].lower().replace("cap_", "+").split()
    script = CONFINE.format(
        writable=" ".join([*writable, *map(str, more)]), capabilities=",".join(capabilities)
    )
    return ("unshare", "--mount", "--propagation", "slave", "--", "bash", "-c", script, "confined")


def test_a_worker_as_its_unit_confines_it_takes_snapshots(
    fresh: Deployment, tmp_path: Path
) -> None:
    filesystems.need("setpriv", "unshare", "findmnt")
    with filesystems.btrfs(tmp_path) as volume:
        live = volume / "live"
        filesystems.run("btrfs", "subvolume", "create", str(live))
        filesystems.run("btrfs", "subvolume", "create", str(live / "config"))
        shutil.copytree(fresh.live, live, dirs_exist_ok=True)
        fresh.override(
            f"sources: {{model: {{path: {live}/model}}, configs: {{path: {live}}}}}\n"
            "plans: {nightly: {snapshot: btrfs, drill: {record_at_backup: false}}}\n" + OFTEN
        )
        assert fresh.run("schedule", "install", "--directory", str(tmp_path)).exit_code == 0
        temporary = fresh.base / "temporary"  # as PrivateTmp
        temporary.mkdir()
        prefix = confinement(tmp_path / "llmvault-backup@.service", temporary)
        with (
            workers(fresh, "env", f"TMPDIR={temporary}", *prefix) as asking,
            scheduler(fresh, more=asking),
        ):
            until(lambda: set(outcomes(fresh)) - {"running"}, "a backup has ended")
        assert outcomes(fresh)[0] == "proven", runs(fresh)[0].detail
        listed = fresh.run("recovery-points", "list", "--json").document["recovery_points"]
        shown = fresh.run("recovery-points", "show", listed[-1]["id"], "--json").stdout
        assert '"snapshotter": "btrfs"' in shown
        assert not list(volume.glob(".llmvault-snapshot-*")), "and destroys them"
