"""Ninety days of a fleet with every kind of job, and outages: all caught up, nothing twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from llmvault.catalog.session import Catalog, open_catalog
from llmvault.core.errors import UnavailableError
from llmvault.policy.jobs import Job as DeclaredJob
from llmvault.schedule.model import Job, Outcome, Run
from llmvault.schedule.times import next_after
from tests.fakes.fleet import START, Askew, Host, Moved, simulate
from tests.fakes.policy_files import write_policy

POLICY = """
version: 1
repositories:
  primary: {url: "s3:https://store.example.org/b/one", password: "env:P"}
  second: {url: "s3:https://other.example.org/b/two", password: "env:P", copy_of: primary}
ledger: {witnesses: {share: {kind: directory, path: /mnt/audit}}}
sources: {configs: {kind: configs, path: /s}, prompts: {kind: configs, path: /p}}
plans:
  nightly:
    {sources: [configs], repositories: [primary], schedule: "30 2 * * *", objectives: {rpo: 25h}}
  weekly:
    {sources: [prompts], repositories: [primary], objectives: {rpo: 8d}}
jobs:
  weekly: {kind: backup, plans: [weekly], at: "0 3 * * sat", jitter: 1h}
  drills:
    kind: drill
    at: "0 4 * * sun"
    timezone: Europe/Berlin
    jitter: 30m
    each_source_within: 21d
  surprise: {kind: drill, at: "0 5 1 * *", recovery_point: random, hosts: one}
  copies: {kind: copies, at: "0 6 * * mon"}
  verification: {kind: verification, at: "0 7 * * tue"}
  locks: {kind: locks, every: 7d}
  tamper: {kind: tamper, at: "0 8 * * wed"}
  evidence: {kind: evidence, at: "0 9 1 * *", hosts: one, frameworks: [dora]}
  retention: {kind: retention, at: "0 8 * * fri"}
  digest: {kind: digest, at: "0 7 * * mon"}
  verify-ledger: {kind: ledger_verify, at: "0 10 * * thu"}
  pin-ledger: {kind: ledger_pin, at: "0 11 * * fri"}
"""
OUTAGE = (START + timedelta(days=20, hours=1), START + timedelta(days=25))
DATABASE_GONE = (START + timedelta(days=40, hours=2), START + timedelta(days=40, hours=3))
HOUR = timedelta(hours=1)
ASKEW = (  # an hour ahead over a night, an hour back over another; and Berlin's own on day 56
    (START + timedelta(days=30), START + timedelta(days=31), HOUR),
    (START + timedelta(days=50), START + timedelta(days=51), -HOUR),
)
TRIED_AGAIN = START + timedelta(days=60, hours=2, minutes=30)


def times(job: Job, begin: datetime, end: datetime) -> list[datetime]:
    """Return every time of a job in a period."""
    found, at = [], next_after(job, begin)
    while at is not None and at <= end:
        found.append(at)
        at = next_after(job, at)
    return found


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here outlives the test: no need to wait for a disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    opened = open_catalog("sqlite://")
    yield opened
    opened.close()


@pytest.mark.usefixtures("fast")
def test_ninety_days(tmp_path: Path, catalog: Catalog) -> None:
    clock = Moved()
    policy = write_policy(tmp_path / "policy", {"policy.yaml": POLICY})

    def reach() -> Catalog:
        if DATABASE_GONE[0] <= clock.at < DATABASE_GONE[1]:
            raise UnavailableError("catalog", "gone for an hour")
        return catalog

    clocks: dict[str, Moved | Askew] = {
        "gpu-1": clock,
        "gpu-2": clock,
        "gpu-3": Askew(clock, ASKEW),
    }
    hosts = [Host(name, tmp_path / name, policy, own, reach) for name, own in clocks.items()]
    hosts[0].outcomes["backup-nightly", TRIED_AGAIN] = Outcome.UNAVAILABLE

    def down(name: str, now: datetime) -> bool:
        return name == "gpu-2" and OUTAGE[0] <= now < OUTAGE[1]

    set_at = [moment for begin, end, _ in ASKEW for moment in (begin, end)]
    daemons = simulate(hosts, clock, 90, down, (*OUTAGE, *DATABASE_GONE, *set_at))
    jobs = daemons["gpu-1"].jobs
    assert {job.kind for job in jobs} == _kinds(), "every kind of job is simulated"
    for host in hosts:
        for job in daemons[host.name].jobs:
            if not job.shared:
                _none_missing(job, [run for run, _ in host.ran if run.job == job.name], host.name)
    for job in jobs:
        if job.shared:
            done = [run for host in hosts for run, _ in host.ran if run.job == job.name]
            assert Counter(run.scheduled for run in done) == Counter(times(job, START, clock.at))
    _drills_take_turns(hosts[0])
    _findings(hosts, daemons["gpu-1"].findings)


def _kinds() -> set[str]:
    union, _ = get_args(DeclaredJob)
    return {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(union)}


def _none_missing(job: Job, done: list[Run], host: str) -> None:
    """Every time was run once; those of the outage by one run when it was over."""
    wanted = times(job, START, START + timedelta(days=90))
    if host == "gpu-2":
        missed = [at for at in wanted if OUTAGE[0] < at <= OUTAGE[1]]
        wanted = [at for at in wanted if at not in missed[:-1]]
        for run in done:
            if missed and run.scheduled == missed[-1]:
                assert (run.missed, run.started) == (len(missed) - 1, OUTAGE[1])
    again = [TRIED_AGAIN] if (job.name, host) == ("backup-nightly", "gpu-1") else []
    assert Counter(run.scheduled for run in done) == Counter([*wanted, *again]), (host, job.name)


def _drills_take_turns(host: Host) -> None:
    """Each plan is drilled within the declared period, whatever else drilled it meanwhile."""
    drills = [(run.started, words[1]) for run, words in host.ran if run.kind == "drill"]
    for plan in ("nightly", "weekly"):
        moments = [at for at, drilled in drills if drilled == plan]
        assert max(b - a for a, b in pairwise([START, *moments])) <= timedelta(days=21)
        assert START + timedelta(days=90) - moments[-1] <= timedelta(days=21)


def _findings(hosts: list[Host], now: tuple[object, ...]) -> None:
    """The outage was told by the other host, the database's by both; nothing of it is left."""
    told = [{one.kind for one in host.told.findings} for host in hosts]
    assert told[0] == {"silent-host", "catalog-unavailable", "backup-unavailable"}
    assert {one.subject for one in hosts[0].told.findings if one.kind == "silent-host"} == {"gpu-2"}
    assert told[1] <= {"catalog-unavailable", "overdue", "rpo-missed", "not-drilled"}
    assert now == ()
