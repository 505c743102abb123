"""Telling people while the scheduler runs: it never raises, and keeps nobody waiting.

Each target has a thread of its own, so that one that hangs delays no other, and its orders are
carried out one after the other: a start is told before the end. What a target was told is on disk
as soon as it was told.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, RLock
from typing import Protocol

from llmvault.app.notify import Signal
from llmvault.core.clock import Clock
from llmvault.core.errors import VaultError
from llmvault.core.units import format_time
from llmvault.notify.model import Delivered, Message
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.notify import PingTarget, Reader, Severity, Target
from llmvault.schedule.books import BookStore
from llmvault.schedule.judge import finding_of
from llmvault.schedule.letters import message_of
from llmvault.schedule.model import Finding, Job, Outcome, Run, Window
from llmvault.schedule.plan import is_repeated, window_of
from llmvault.schedule.telling import (
    Book,
    Letter,
    Rules,
    at_once,
    delivered,
    event_of,
    failed,
    letter_of,
    may_try,
    observed,
    rules_of,
    spoken_for,
    trouble_finding,
    weighed,
    with_event,
)
from llmvault.schedule.times import in_window

_log = logging.getLogger(__name__)
_PINGS_WAITING = 100
_CLOSE_SECONDS = 10.0
_EXIT_STATUS: Mapping[Outcome, int] = {
    Outcome.PROVEN: 0,
    Outcome.FAILED: 1,
    Outcome.WRONG: 2,
    Outcome.UNPROVEN: 3,
    Outcome.REFUSED: 4,
    Outcome.UNAVAILABLE: 5,
    Outcome.HUNG: 124,  # as timeout(1) has it
}


class Sender(Protocol):
    """Sends to targets of the policy; never raises."""

    def send(self, target: Reader, message: Message, stop: Event) -> Delivered:
        """Send a message."""

    def ping(self, target: PingTarget, signal: Signal, message: Message, stop: Event) -> Delivered:
        """Ping."""


@dataclass(frozen=True, slots=True)
class TellerPorts:
    """What telling works with.

    Attributes:
        speaks_for_all: whether this host tells what is not about itself alone.
    """

    clock: Clock
    host: str
    sender: Sender
    books: BookStore
    speaks_for_all: Callable[[datetime], bool]


@dataclass
class _Line:
    """The line to one target."""

    pool: ThreadPoolExecutor
    waiting: deque[Callable[[], None]] = field(default_factory=lambda: deque(maxlen=_PINGS_WAITING))
    going_on: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being delivered or waits for that."""
        return self.going_on is not None and not self.going_on.done()


class PolicyTeller:
    """Tells the targets of the policy in force.

    It is made without a policy and tells nobody until :meth:`adopt`.
    """

    def __init__(self, ports: TellerPorts) -> None:
        self._ports = ports
        self._lock = RLock()
        self._stop = Event()
        self._targets: Mapping[str, Target] = {}
        self._severities: Mapping[str, Severity] = {}
        self._windows: Mapping[str, Window] = {}
        self._lines: dict[str, _Line] = {}
        self._books = ports.books.read()
        self._written: dict[str, Book] = dict(self._books)
        self._file_trouble: VaultError | None = None

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Go by a policy from now on."""
        policy = loaded.policy
        with self._lock:
            self._targets = dict(policy.notify)
            self._severities = dict(policy.telling.severities)
            self._windows = {name: window_of(one) for name, one in policy.windows.items()}
            self._books = {name: at_once(self._books.get(name, Book())) for name in self._targets}
            for name in self._targets:
                if name not in self._lines:
                    self._lines[name] = _Line(ThreadPoolExecutor(1, f"tell-{name}"))

    def run(self, job: Job, run: Run) -> None:
        """Take note that a run begins or has ended: ping, and remember what is to be told."""
        event = event_of(job, run)
        now = self._ports.clock.now()
        with self._lock:
            for name, target in self._pings(job):
                self._ping(name, target, job, run, now)
            if event is not None:
                (weighed_event,) = weighed([event], self._severities)
                for name, rules in self._readers(now):
                    self._books[name] = with_event(self._books[name], weighed_event, rules)
                self._keep()

    def look(self, findings: Sequence[Finding], now: datetime) -> Sequence[Finding]:
        """Tell what is to be told of everything that is wrong now; return what is wrong here."""
        for_all = self._ports.speaks_for_all(now)
        with self._lock:
            troubles = tuple(self._troubles())
            all_found = weighed((*findings, *troubles), self._severities)
            for name, rules in self._readers(now):
                if self._lines[name].busy:
                    continue
                mine = spoken_for(all_found, self._ports.host, for_all=for_all)
                about_others = tuple(one for one in mine if not _is_about(one, name))
                self._consider(name, about_others, rules, now, for_all=for_all)
            self._keep()
            return troubles

    def close(self) -> None:
        """End, after what waits was delivered or a few seconds have passed."""
        with self._lock:
            going_on = [line.going_on for line in self._lines.values() if line.going_on]
        wait(going_on, timeout=_CLOSE_SECONDS)
        self._stop.set()
        with self._lock:
            lines = tuple(self._lines.values())
            for line in lines:
                line.waiting.clear()
        for line in lines:
            line.pool.shutdown(wait=True)

    def _readers(self, now: datetime) -> Iterator[tuple[str, Rules]]:
        for name, target in self._targets.items():
            if not isinstance(target, PingTarget):
                quiet = any(in_window(self._windows[one], now) for one in target.quiet)
                yield name, rules_of(target, quiet=quiet)

    def _pings(self, job: Job) -> Iterator[tuple[str, PingTarget]]:
        for name, target in self._targets.items():
            if isinstance(target, PingTarget) and (not target.jobs or job.name in target.jobs):
                yield name, target

    def _troubles(self) -> Iterator[Finding]:
        for name, book in self._books.items():
            if book.trouble is not None:
                yield trouble_finding(self._ports.host, name, book.trouble)
        if self._file_trouble is not None:
            yield finding_of("notification-failed", self._ports.host, self._file_trouble)

    def _consider(
        self, name: str, findings: Sequence[Finding], rules: Rules, now: datetime, *, for_all: bool
    ) -> None:
        host = None if for_all else self._ports.host
        book = observed(self._books[name], findings, rules, now, host=host)
        self._books[name] = book
        letter = letter_of(book, findings, rules, now)
        target = self._targets[name]
        if letter and may_try(book, now) and not isinstance(target, PingTarget):
            self._enqueue(name, lambda: self._tell(name, target, letter, now))

    def _tell(self, name: str, target: Reader, letter: Letter, now: datetime) -> None:
        message = message_of(letter, self._ports.host, now)
        done = self._ports.sender.send(target, message, self._stop)
        with self._lock:
            if name in self._books and not done.cause:
                self._books[name] = delivered(self._books[name], letter, now)
            self._note(name, done)

    def _ping(self, name: str, target: PingTarget, job: Job, run: Run, now: datetime) -> None:
        signal = signal_of(target, job, run)
        if signal is None:
            return
        text = f"{job.kind} job {job.name} on {run.host}: {run.outcome.value}\n{run.detail}"
        message = Message(format_time(now), job.name, text)

        def carry_out() -> None:
            done = self._ports.sender.ping(target, signal, message, self._stop)
            with self._lock:
                self._note(name, done)

        self._enqueue(name, carry_out)

    def _note(self, name: str, done: Delivered) -> None:
        """Remember whether a target takes what it is told, on disk."""
        book = self._books.get(name)
        if book is None:  # no longer in the policy
            return
        if done.cause:
            _log.warning("%s was not told: %s", name, done.cause)
            self._books[name] = failed(book, done.cause, self._ports.clock.now())
        elif book.trouble is not None:
            self._books[name] = Book(book.told, book.events, None)
        self._keep()

    def _enqueue(self, name: str, work: Callable[[], None]) -> None:
        line = self._lines[name]
        line.waiting.append(work)
        if not line.busy and not self._stop.is_set():
            line.going_on = line.pool.submit(self._work_off, name, line)

    def _work_off(self, name: str, line: _Line) -> None:
        while True:
            with self._lock:
                if not line.waiting:
                    line.going_on = None
                    return
                work = line.waiting.popleft()
            try:
                work()
            except Exception as error:  # noqa: BLE001  whatever it is, the others must be told
                where = "".join(traceback.format_tb(error.__traceback__))  # no value of a secret
                _log.error("telling %s: %s\n%s", name, type(error).__name__, where)
                with self._lock:
                    self._note(name, Delivered(0, f"an error in llmvault: {type(error).__name__}"))

    def _keep(self) -> None:
        if self._books == self._written:
            return
        try:
            self._ports.books.write(self._books)
        except VaultError as error:
            self._file_trouble = error
            _log.warning("%s", error)
        else:
            self._file_trouble = None
            self._written = dict(self._books)


def signal_of(target: PingTarget, job: Job, run: Run) -> Signal | None:
    """Return what a target is pinged with when a run begins or ends; None for nothing.

    A run that is done again is not lost yet: the check is told, and waits.
    """
    rid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"llmvault:{run.id}/{run.attempt}"))

    def signal(text: str) -> Signal:
        return Signal(text, job.name, run.host, rid)

    if run.outcome is Outcome.RUNNING:
        return signal("start") if target.start else None
    if is_repeated(job, run):
        return signal("log")
    if target.exit_status:
        return signal(str(_EXIT_STATUS.get(run.outcome, 255)))
    return signal("" if run.outcome is Outcome.PROVEN else "fail")


def _is_about(finding: Finding, target: str) -> bool:
    """Whether it says that this target cannot be told anything, which it cannot be told."""
    return finding.kind == "notification-failed" and finding.subject == target
