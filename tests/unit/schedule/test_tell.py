"""Telling while the scheduler runs: in order, without waiting, across restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from llmvault.app.notify import Signal
from llmvault.notify.model import Delivered, Message
from llmvault.policy.notify import PingTarget, Reader
from llmvault.schedule.books import BookStore
from llmvault.schedule.model import Finding, Outcome, Run
from llmvault.schedule.tell import PolicyTeller, TellerPorts
from tests.fakes.fleet import Moved
from tests.fakes.jobs import job
from tests.fakes.policy_files import SMALL, load

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = (
    SMALL
    + """
    jobs:
      nightly: {kind: backup, at: "0 1 * * *"}
      other: {kind: backup, at: "0 2 * * *"}
    notify:
      chat: {kind: file, path: /nowhere/chat, at_least: warning, settle: 0s}
      all: {kind: file, path: /nowhere/all, at_least: info, settle: 0s}
      checks: {kind: ping, url: "env:PING", slug: "{job}"}
      one: {kind: ping, url: "env:PING", jobs: [other]}
"""
)
LATE = Finding("late", "overdue", "critical", "gpu-1", "nightly", "nightly is late", "look")
NIGHTLY = job("0 1 * * *")


@dataclass
class Recorded:
    """Takes everything, unless it is to fail or to hang."""

    letters: list[tuple[str, Message]] = field(default_factory=list)
    pings: list[tuple[str, Signal]] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    released: Event = field(default_factory=Event)

    def send(self, target: Reader, message: Message, stop: Event) -> Delivered:
        name = Path(str(getattr(target, "path", ""))).name
        if name in self.hangs:
            while not (stop.is_set() or self.released.is_set()):
                time.sleep(0.01)
        if name in self.fails:
            return Delivered(4, "answered 500")
        self.letters.append((name, message))
        return Delivered(1)

    def ping(self, target: PingTarget, signal: Signal, message: Message, stop: Event) -> Delivered:
        self.pings.append((target.slug or "one", signal))
        return Delivered(1, "answered 404" if "pings" in self.fails else "")

    def titles(self, name: str) -> list[str]:
        return [message.title for target, message in self.letters if target == name]


def made(tmp_path: Path, sender: Recorded, clock: Moved) -> PolicyTeller:
    books = BookStore(tmp_path / "state" / "told.json")
    teller = PolicyTeller(TellerPorts(clock, "gpu-1", sender, books, lambda now: True))
    teller.adopt(load(tmp_path / "policy", POLICY))
    return teller


def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def run_of(outcome: Outcome, attempt: int = 1) -> Run:
    return Run("nightly", "backup", "gpu-1", "gpu-1", NOON, NOON, NOON, attempt, outcome)


@pytest.fixture
def clock() -> Moved:
    return Moved(NOON)


def test_a_run_is_pinged_in_order_with_one_id(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    for outcome in (Outcome.RUNNING, Outcome.PROVEN):
        teller.run(NIGHTLY, run_of(outcome))
    for outcome in (Outcome.RUNNING, Outcome.FAILED):
        teller.run(NIGHTLY, run_of(outcome, attempt=2))
    teller.close()
    assert {slug for slug, _ in sender.pings} == {"{job}"}, "the other job's check is left alone"
    signals = [signal for _, signal in sender.pings]
    assert [one.signal for one in signals] == ["start", "", "start", "fail"]
    assert len({one.rid for one in signals[:2]}) == 1
    assert signals[0].rid != signals[2].rid


def test_a_run_that_is_tried_again_has_not_failed_yet(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    for attempt in (1, 4):
        teller.run(NIGHTLY, run_of(Outcome.UNAVAILABLE, attempt))
    teller.close()
    assert [signal.signal for _, signal in sender.pings] == ["log", "fail"]


def test_findings_and_runs_reach_those_who_want_them(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    teller.run(NIGHTLY, run_of(Outcome.PROVEN))
    assert teller.look([LATE], clock.now()) == ()
    teller.close()
    assert sender.titles("chat") == ["[critical] gpu-1: nightly is late"]
    assert sender.titles("all") == ["[critical] gpu-1: 1 new, 1 done"]


def test_a_restart_tells_nothing_again_and_what_is_over_once(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    for _ in range(3):
        teller = made(tmp_path, sender, clock)
        teller.look([LATE], clock.now())
        teller.close()
        clock.sleep(60)
    assert len(sender.titles("chat")) == 1
    for _ in range(2):
        teller = made(tmp_path, sender, clock)
        teller.look([], clock.now())
        teller.close()
    assert sender.titles("chat")[1:] == ["[resolved] gpu-1: over: nightly is late"]


def test_a_target_that_fails_is_a_finding_that_the_others_are_told(
    tmp_path: Path, clock: Moved
) -> None:
    sender = Recorded(fails={"chat"})
    teller = made(tmp_path, sender, clock)
    teller.look([LATE], clock.now())
    until(lambda: teller.look([LATE], clock.now()))
    (found,) = teller.look([LATE], clock.now())
    assert (found.kind, found.subject, found.severity) == ("notification-failed", "chat", "error")
    assert "answered 500" in found.message
    until(
        lambda: (
            teller.look([LATE], clock.now())
            and any("chat cannot be told" in title for title in sender.titles("all"))
        )
    )
    sender.fails.clear()
    assert teller.look([LATE], clock.now()), "it is not tried before its time"
    assert sender.titles("chat") == []
    teller.adopt(load(tmp_path / "policy", POLICY))  # somebody mended it
    until(lambda: not teller.look([LATE], clock.now()))
    assert sender.titles("chat") == ["[critical] gpu-1: nightly is late"]
    teller.close()


def test_a_target_that_hangs_keeps_nobody_waiting(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded(hangs={"chat"})
    teller = made(tmp_path, sender, clock)
    for _ in range(3):
        teller.look([LATE], clock.now())
        teller.run(NIGHTLY, run_of(Outcome.RUNNING))
    until(lambda: len(sender.titles("all")) == 1)
    until(lambda: len(sender.pings) == 3)
    assert sender.titles("chat") == []
    sender.released.set()
    teller.close()
    assert len(sender.titles("chat")) == 1, "one letter, however often it was looked"


def test_pings_that_fail_are_a_finding_until_one_is_taken(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded(fails={"pings"})
    teller = made(tmp_path, sender, clock)
    teller.run(NIGHTLY, run_of(Outcome.PROVEN))
    until(lambda: teller.look([], clock.now()))
    sender.fails.clear()
    teller.run(NIGHTLY, run_of(Outcome.PROVEN))
    until(lambda: not teller.look([], clock.now()))
    teller.close()


def test_another_policy_is_gone_by_at_once(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    teller.adopt(load(tmp_path / "other", SMALL + "    telling: {severities: {overdue: info}}\n"))
    teller.look([LATE], clock.now())
    teller.run(NIGHTLY, run_of(Outcome.PROVEN))
    teller.adopt(load(tmp_path / "third", POLICY + "    telling: {severities: {overdue: info}}\n"))
    teller.look([LATE], clock.now())
    teller.close()
    assert sender.titles("chat") == []
    assert sender.titles("all") == ["[info] gpu-1: nightly is late"]
    assert not sender.pings


def test_what_cannot_be_written_down_is_a_finding(tmp_path: Path, clock: Moved) -> None:
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    (tmp_path / "state").write_text("a file where the directory should be")
    teller.look([LATE], clock.now())
    until(lambda: teller.look([LATE], clock.now()))
    (found, *_) = teller.look([LATE], clock.now())
    assert found.kind == "notification-failed"
    teller.close()


def test_quiet_windows_are_those_of_the_policy(tmp_path: Path, clock: Moved) -> None:
    text = POLICY.replace("at_least: warning,", "at_least: warning, quiet: [noon],")
    text += '    windows: {noon: {start: "11:00", end: "13:00"}}\n'
    sender = Recorded()
    teller = made(tmp_path, sender, clock)
    teller.adopt(load(tmp_path / "quiet", text))
    mild = replace(LATE, severity="warning")
    teller.look([mild], clock.now())
    clock.sleep(timedelta(hours=2).total_seconds())
    until(lambda: sender.titles("all"))
    assert sender.titles("chat") == []
    teller.look([mild], clock.now())
    teller.close()
    assert sender.titles("chat") == ["[warning] gpu-1: nightly is late"]
