"""``llmvault schedule``: as people run it, ended and broken in every way they do."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from llmvault.catalog.session import open_catalog
from tests.servers import free_port
from tests.system.deployment import Deployment

pytestmark = pytest.mark.system
SECONDS = 90.0
OFTEN = "jobs: {backups: {kind: backup, every: 2s, grace: 1h}}\n"
SELDOM = "jobs: {backups: {kind: backup, every: 1d, grace: 1h}}\n"


@dataclass(frozen=True)
class RunRow:
    """One run as the catalog has it."""

    scheduled: str
    attempt: int
    outcome: str
    detail: str


def runs(deployment: Deployment) -> list[RunRow]:
    """Return the runs of the job ``backups``, oldest first."""
    database = deployment.state / "catalog.sqlite"
    if not database.exists():
        return []
    try:
        with sqlite3.connect(database, timeout=30) as connection:
            rows = connection.execute(
                "select scheduled, attempt, outcome, detail from job_run where job = 'backups'"
                " order by scheduled"
            ).fetchall()
    except sqlite3.OperationalError:  # its tables are being made
        return []
    finally:
        connection.close()
    return [RunRow(*row) for row in rows]


def findings(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Return what the host knows to be wrong, by kind."""
    if not (deployment.state / "catalog.sqlite").exists():
        return {}
    catalog = open_catalog(f"sqlite:///{deployment.state / 'catalog.sqlite'}")
    try:
        return {one["kind"]: dict(one) for host in catalog.hosts() for one in host.findings}
    finally:
        catalog.close()


def beats(deployment: Deployment) -> str:
    """Return when the host last told that it is there; empty when it never did."""
    if not (deployment.state / "catalog.sqlite").exists():
        return ""
    catalog = open_catalog(f"sqlite:///{deployment.state / 'catalog.sqlite'}")
    try:
        return next((str(host.seen) for host in catalog.hosts()), "")
    finally:
        catalog.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"never happened: {what}"
        time.sleep(0.1)


@contextmanager
def scheduler(
    deployment: Deployment, *options: str, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a scheduler; at the end it must go when it is told to, and leave nothing behind."""
    process = deployment.start("schedule", "run", "--heartbeat", "1s", *options, more=more)
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
    deployment.wait_until_still(SECONDS)


def outcomes(deployment: Deployment) -> list[str]:
    return [run.outcome for run in runs(deployment)]


def test_it_backs_up_lists_and_ends_when_told(fresh: Deployment) -> None:
    fresh.override(OFTEN)
    with scheduler(fresh) as process:
        until(lambda: outcomes(fresh).count("proven") >= 2, "two backups")
        second = fresh.run("schedule", "run", "--json")
        assert second.exit_code == 5, second
        assert "schedule" in second.error["thing"]
    assert process.returncode == 0
    found = runs(fresh)
    assert len({run.scheduled for run in found}) == len(found)
    assert "running" not in outcomes(fresh)
    fresh.override(SELDOM)
    listed = fresh.run("schedule", "list", "--json")
    assert listed.exit_code == 0, listed
    (job,) = listed.document["jobs"]
    assert (job["kind"], job["owner"], job["overdue_since"]) == ("backup", "tests", None)
    assert job["last"]["outcome"] == "proven"
    assert job["next"] > job["last"]["scheduled"]
    points = fresh.run("recovery-points", "list", "--json").document["recovery_points"]
    assert len(points) == len([run for run in found if run.outcome == "proven"])


def test_a_killed_scheduler_runs_again_what_it_was_at(fresh: Deployment) -> None:
    fresh.override("jobs: {backups: {kind: backup, every: 1s, grace: 1h}}\n")
    with scheduler(fresh) as process:
        until(lambda: "running" in outcomes(fresh), "a run begins")
        process.kill()
    (interrupted,) = [run for run in runs(fresh) if run.outcome == "running"]
    fresh.override("jobs: {backups: {kind: backup, every: 3650d, grace: 9d}}\n")
    with scheduler(fresh):
        until(lambda: outcomes(fresh)[-1] == "proven", "the run is done after all")
    (again,) = [run for run in runs(fresh) if run.scheduled == interrupted.scheduled]
    assert (again.attempt, again.outcome) == (2, "proven")


def test_a_run_that_hangs_is_stopped_and_told(fresh: Deployment) -> None:
    fresh.override(
        "repositories: {primary: {password: 'cmd:sleep 600'}}\n"
        "jobs: {backups: {kind: backup, every: 1s, limit: 3s, grace: 1h}}\n"
    )
    with scheduler(fresh):
        until(lambda: "backup-hung" in findings(fresh), "the hang is found")
        told = findings(fresh)["backup-hung"]
    assert "stopped after its limit of 3 s" in told["message"]
    assert told["severity"] == "critical"


def test_what_is_unavailable_is_tried_again(fresh: Deployment) -> None:
    away = fresh.base / "away"
    shutil.move(fresh.repository, away)
    fresh.override("jobs: {backups: {kind: backup, every: 1s, backoff: 1s, retries: 20}}\n")
    with scheduler(fresh):
        until(lambda: "unavailable" in outcomes(fresh), "the repository is missed")
    before = runs(fresh)[-1]
    fresh.override("jobs: {backups: {kind: backup, every: 3650d, backoff: 1s, retries: 20}}\n")
    with scheduler(fresh):
        until(lambda: runs(fresh)[-1].attempt > before.attempt, "it is tried again")
        shutil.move(away, fresh.repository)
        until(lambda: outcomes(fresh)[-1] == "proven", "it is there again")
    assert runs(fresh)[-1].scheduled == before.scheduled


def test_a_policy_is_read_anew_and_a_broken_one_is_not_taken(fresh: Deployment) -> None:
    fresh.override(SELDOM)
    assert fresh.run("init").exit_code == 0
    with scheduler(fresh) as process:
        until(lambda: (fresh.state / "schedule" / "policy" / "current").exists(), "it runs")
        until(lambda: beats(fresh), "it tells that it is there")
        fresh.override("jobs: {backups: {kind: backup, evry: 1s}}\n")
        until(lambda: "policy-broken" in findings(fresh), "a broken policy is found unasked")
        process.send_signal(signal.SIGHUP)
        seen = beats(fresh)
        until(lambda: beats(fresh) > seen, "it goes on")
        assert "evry" in findings(fresh)["policy-broken"]["message"]
        assert not runs(fresh)
        fresh.override(OFTEN)
        until(lambda: "policy-edited" in findings(fresh), "a right one waits to be taken")
        process.send_signal(signal.SIGHUP)
        until(lambda: "proven" in outcomes(fresh), "the new policy is in force")
        until(lambda: not findings(fresh), "nothing is wrong any more")
    entries = fresh.run("ledger", "show", "--kind", "schedule", "--json").document["entries"]
    (reloaded,) = [one for one in entries if one["kind"] == "schedule.reloaded"]
    assert reloaded["facts"]["changed"] == ["jobs.backups.every"]


def test_being_told_to_end_it_finishes_or_stops_what_runs(fresh: Deployment) -> None:
    fresh.override(
        "repositories: {primary: {password: 'cmd:sleep 600'}}\n"
        "jobs: {backups: {kind: backup, every: 1s, grace: 1h}}\n"
    )
    with scheduler(fresh, "--finish-within", "1s") as process:
        until(lambda: "running" in outcomes(fresh), "a run begins")
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
    assert process.returncode == 0
    assert outcomes(fresh)[-1] == "interrupted"


def test_a_schedule_that_never_fires_is_an_error(fresh: Deployment) -> None:
    fresh.override("jobs: {never: {kind: backup, at: '0 0 30 2 *'}}\n")
    done = fresh.run("schedule", "list", "--json")
    assert done.exit_code == 2
    assert "never happens" in done.stdout
    assert fresh.run("schedule", "run", "--json").exit_code == 2


def test_a_scrape_during_a_backup_is_answered(fresh: Deployment) -> None:
    port, file = free_port(), fresh.base / "llmvault.prom"
    fresh.override(
        "repositories: {primary: {password: 'cmd:sleep 600'}}\n"
        "jobs: {backups: {kind: backup, every: 1s, grace: 1h}}\n"
        f"metrics: {{listen: '127.0.0.1:{port}', textfile: {file}}}\n"
    )
    with scheduler(fresh, "--finish-within", "1s"):
        until(lambda: "running" in outcomes(fresh), "a run begins")

        def scraped() -> str:
            return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

        until(
            lambda: (
                'llmvault_job_running{host="tests",job="backups",kind="backup"} 1.0' in scraped()
            ),
            "the run is seen in a scrape",
        )
        until(file.exists, "the file for the textfile collector is written")
        assert "llmvault_look_timestamp_seconds" in file.read_text()
