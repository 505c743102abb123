"""What the scheduler does when its policy, its clock, its disk or its database fail it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from llmvault.catalog.session import Catalog, open_catalog
from llmvault.core.errors import UnavailableError
from llmvault.schedule import journal as journal_module
from llmvault.schedule.daemon import Daemon, difference
from llmvault.schedule.model import Outcome
from tests.fakes.fleet import START, Host, Moved, simulate
from tests.fakes.policy_files import write_policy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY = """
version: 1
repositories: {primary: {url: "s3:https://store.example.org/b", password: "env:P"}}
sources: {configs: {kind: configs, path: /s}}
plans: {nightly: {sources: [configs], repositories: [primary], schedule: "30 2 * * *"}}
"""
FLEET = """
jobs: {copies: {kind: verification, at: "0 6 * * *"}}
"""


@pytest.fixture
def clock() -> Moved:
    return Moved()


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    opened = open_catalog("sqlite://")
    yield opened
    opened.close()


def host(tmp_path: Path, clock: Moved, catalog: Catalog, name: str = "gpu-1", **more: str) -> Host:
    policy = write_policy(tmp_path / f"policy-{name}", {"policy.yaml": POLICY, **more})
    return Host(name, tmp_path / name, policy, clock, lambda: catalog)


def kinds(daemon: Daemon) -> set[str]:
    return {finding.kind for finding in daemon.findings}


def go_on(daemon: Daemon, clock: Moved, until: datetime) -> None:
    """Tick until a moment."""
    while clock.at < until:
        clock.at = min(until, clock.at + daemon.tick())
    daemon.tick()


def test_a_broken_policy_is_a_finding_and_the_old_one_stays(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    one = host(tmp_path, clock, catalog)
    daemon = one.start()
    go_on(daemon, clock, START + 3 * HOUR)
    (one.policy / "policy.yaml").write_text(POLICY.replace("plans:", "palns:"))
    go_on(daemon, clock, START + DAY)
    assert "policy-broken" in kinds(daemon), "found before anybody asked to reload"
    daemon.reload()
    go_on(daemon, clock, START + DAY + 3 * HOUR)
    assert "policy-broken" in kinds(daemon)
    assert [run.scheduled.day for run, _ in one.ran] == [1, 2], "the old policy is in force"
    assert one.ledger.entries == []
    (one.policy / "policy.yaml").write_text(POLICY.replace("30 2", "0 4"))
    daemon.reload()
    go_on(daemon, clock, START + DAY + 5 * HOUR)
    assert kinds(daemon) == set()
    assert one.ran[-1][0].scheduled == START + DAY + 4 * HOUR
    ((kind, facts),) = one.ledger.entries
    assert (kind, facts["changed"]) == ("schedule.reloaded", ["plans.nightly.schedule"])


def test_a_reload_that_cannot_be_recorded_does_not_happen(
    tmp_path: Path, clock: Moved, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host(tmp_path, clock, catalog)
    daemon = one.start()
    daemon.tick()

    def full(*_: object) -> int:
        raise UnavailableError("ledger", "no space left", "make room")

    monkeypatch.setattr(one.ledger, "append", full)
    (one.policy / "policy.yaml").write_text(POLICY.replace("30 2", "0 4"))
    before = daemon.jobs
    daemon.reload()
    daemon.tick()
    assert daemon.jobs == before
    assert "policy-broken" in kinds(daemon)


def test_the_difference_names_settings_and_shows_no_values() -> None:
    old = {"plans": {"a": {"rpo": "1h"}}, "repositories": {"r": {"url": "https://u:secret@h"}}}
    new = {"plans": {"a": {"rpo": "2h"}, "b": {"rpo": "1h"}}, "repositories": {}}
    assert difference(old, new) == [
        "plans.a.rpo",
        "plans.b.rpo",
        "repositories",
        "repositories.r.url",
    ]


@pytest.mark.parametrize("jump", [-HOUR, -DAY, HOUR, DAY], ids=str)
def test_a_clock_that_is_set_doubles_nothing_and_is_caught_up(
    tmp_path: Path, clock: Moved, catalog: Catalog, jump: timedelta
) -> None:
    one = host(tmp_path, clock, catalog)
    daemon = one.start()
    go_on(daemon, clock, START + 3 * DAY + 3 * HOUR)
    clock.set_by = jump
    go_on(daemon, clock, clock.at + HOUR)
    clock.set_by = timedelta()  # and set right again
    go_on(daemon, clock, START + 6 * DAY)
    scheduled = [run.scheduled for run, _ in one.ran]
    twice = {at for at in scheduled if scheduled.count(at) > 1}
    # what ran a day before its time is run again at its time: it is a day older than it claims
    assert twice == ({START + timedelta(days=4, hours=2, minutes=30)} if jump == DAY else set())
    wanted = {START + timedelta(days=day, hours=2, minutes=30) for day in range(6)}
    assert set(scheduled) == wanted
    assert kinds(daemon) == set()


def test_a_full_disk_is_a_finding_and_runs_go_on(
    tmp_path: Path, clock: Moved, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host(tmp_path, clock, catalog)
    daemon = one.start()
    daemon.tick()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "write_durably", full)
        go_on(daemon, clock, START + 3 * HOUR)
        (trouble,) = [one for one in daemon.findings if one.kind == "journal-unwritable"]
        assert "No space left" in trouble.message
        assert [run.outcome for run in daemon.active] == []
        assert len(one.ran) == 1
    go_on(daemon, clock, START + DAY + 3 * HOUR)
    assert kinds(daemon) == set()
    assert len(one.ran) == 2


def test_without_its_database_a_host_goes_on_and_enters_later_what_it_did(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    gone = (START + DAY, START + 2 * DAY)
    one = host(tmp_path, clock, catalog, **{"fleet.yaml": FLEET})

    def reach() -> Catalog:
        if gone[0] <= clock.at < gone[1]:
            raise UnavailableError("catalog", "cannot be reached", "start it")
        return catalog

    one.catalog = reach
    daemon = one.start()
    go_on(daemon, clock, START + DAY + 12 * HOUR)
    assert "catalog-unavailable" in kinds(daemon)
    done = [(run.job, run.scheduled.day) for run, _ in one.ran]
    assert done == [("backup-nightly", 1), ("copies", 1), ("backup-nightly", 2)], (
        "what another host might be doing waits"
    )
    again = one.start()  # even when it is started anew meanwhile, nothing is done twice
    go_on(again, clock, START + 2 * DAY + HOUR)
    done = [(run.job, run.scheduled.day) for run, _ in one.ran]
    assert done[3:] == [("copies", 2)]
    known = {(run.job, run.scheduled.day) for run in catalog.newest_runs({"gpu-1"}, clock.at)}
    assert known == {("backup-nightly", 2)}
    assert kinds(again) == set()


def test_one_host_of_a_group_does_what_is_shared(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    hosts = [
        host(tmp_path, clock, catalog, f"gpu-{number}", **{"fleet.yaml": FLEET})
        for number in (1, 2, 3)
    ]
    simulate(hosts, clock, 5)
    for name in ("copies", "backup-nightly"):
        done = [run.scheduled for one in hosts for run, _ in one.ran if run.job == name]
        assert len(done) == (5 if name == "copies" else 15)
        assert len(set(done)) == 5


def test_hosts_with_repositories_of_their_own_share_nothing(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    hosts = [
        host(tmp_path, clock, catalog, f"gpu-{number}", **{"fleet.yaml": FLEET})
        for number in (1, 2)
    ]
    for one in hosts:
        text = POLICY.replace("s3:https://store.example.org/b", "/srv/repository")
        (one.policy / "policy.yaml").write_text(text)
    simulate(hosts, clock, 2)
    for one in hosts:
        assert len([run for run, _ in one.ran if run.job == "copies"]) == 2


def test_runs_of_a_host_that_fell_silent_are_taken_over(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    first, second = (
        host(tmp_path, clock, catalog, name, **{"fleet.yaml": FLEET}) for name in ("gpu-1", "gpu-2")
    )
    first.waiting = []  # its runs never end
    dying, living = first.start(), second.start()
    clock.at = START + 6 * HOUR
    dying.tick()
    living.tick()
    assert [run.job for run in dying.active] == ["backup-nightly", "copies"]
    assert [run.job for run, _ in second.ran] == ["backup-nightly"]
    go_on(living, clock, START + 3 * DAY + 12 * HOUR)
    assert "silent-host" in kinds(living)
    shared = [run for run, _ in second.ran if run.job == "copies"]
    assert shared[0].scheduled >= START + 6 * HOUR
    assert len({run.scheduled for run in shared}) == len(shared) > 0


def test_a_run_that_was_never_ended_is_run_again_three_times_at_most(
    tmp_path: Path, clock: Moved, catalog: Catalog
) -> None:
    one = host(tmp_path, clock, catalog)
    one.start()
    clock.at = START + 3 * HOUR
    attempts = []
    for _ in range(5):
        one.waiting = []
        one.start().tick()
        attempts.append(len(one.waiting))
    assert attempts == [1, 1, 1, 0, 0]
    one.waiting = None
    last = one.start()
    last.tick()
    assert {finding.kind for finding in last.findings} >= {"backup-died"}


def test_an_outcome_that_nobody_can_start_is_unavailable(
    tmp_path: Path, clock: Moved, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host(tmp_path, clock, catalog)

    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device", "/var/log/job")

    monkeypatch.setattr(one, "_execute", full)
    daemon = one.start()
    go_on(daemon, clock, START + 3 * HOUR)
    newest = [run for run in one.told.runs if run.outcome is not Outcome.RUNNING]
    assert newest[0].outcome is Outcome.UNAVAILABLE
    assert "No space left" in newest[0].detail
