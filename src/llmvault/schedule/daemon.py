"""What the scheduler does each time it looks: decide, claim, start, judge, tell.

It knows no scheduler library and waits for nothing; ``runner`` calls :meth:`Daemon.tick`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Protocol

from llmvault import __version__
from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.ledger.interface import Ledger
from llmvault.policy.jobs import Facts
from llmvault.policy.loaded import LoadedPolicy
from llmvault.schedule.journal import Journal
from llmvault.schedule.judge import Judge, Troubles
from llmvault.schedule.measure import View
from llmvault.schedule.model import AGAIN, Finding, Job, Outcome, Run
from llmvault.schedule.plan import backoff, due, jobs_of, newest_run
from llmvault.schedule.times import next_after

if TYPE_CHECKING:
    from llmvault.catalog.lease import Lease
    from llmvault.catalog.session import Catalog

_log = logging.getLogger(__name__)
SHORTEST_WAIT = timedelta(milliseconds=200)
_CLOCK_SET = 3.0


class Execution(Protocol):
    """Runs a command line of llmvault to its end."""

    def __call__(
        self, job: Job, run: Run, arguments: Sequence[str], stop: Event
    ) -> tuple[Outcome, str]:
        """Return how it ended, and the last lines that it printed."""


class Teller(Protocol):
    """Tells people; never raises, and never waits for them."""

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Go by a policy from now on."""

    def run(self, job: Job, run: Run) -> None:
        """Take note that a run begins or has ended."""

    def look(self, findings: Sequence[Finding], now: datetime) -> Sequence[Finding]:
        """Take note of everything that is wrong now; return what went wrong with telling."""


class Publisher(Protocol):
    """Publishes metrics; never raises, and never waits for whoever takes them."""

    def publish(self, view: View) -> Sequence[Finding]:
        """Publish how a host stands; return what went wrong with publishing before."""


class Unpublished:
    """Publishes nothing."""

    def publish(self, view: View) -> Sequence[Finding]:
        """Do nothing."""
        return ()


class Policies(Protocol):
    """Where the policy comes from."""

    def fingerprint(self) -> object:
        """Return what differs when the files were changed; cheap."""

    def load(self) -> LoadedPolicy:
        """Read the policy.

        Raises:
            PolicyError: when it is wrong.
        """

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Let runs go by a policy from now on."""


@dataclass(frozen=True, slots=True)
class DaemonPorts:
    """What the scheduler works with.

    Attributes:
        catalog: returns the catalog, or raises while it cannot be reached.
        submit: starts something in a thread.
        wake: makes :meth:`Daemon.tick` be called soon.
        heartbeat: how often this host tells that it is there.
        parallel: runs at the same time, at most.
        longest_wait: until the next look, at most.
    """

    clock: Clock
    host: str
    state: Path
    journal: Journal
    ledger: Callable[[], Ledger]
    catalog: Callable[[], Catalog]
    policies: Policies
    execute: Execution
    submit: Callable[[Callable[[], None]], None]
    wake: Callable[[], None]
    tell: Teller
    publisher: Publisher = field(default_factory=Unpublished)
    heartbeat: timedelta = timedelta(seconds=60)
    parallel: int = 2
    longest_wait: timedelta = timedelta(seconds=30)


@dataclass
class Daemon:
    """The scheduler of one host; ticks come from one thread at a time."""

    ports: DaemonPorts
    loaded: LoadedPolicy
    started: datetime
    stop: Event = field(default_factory=Event)
    policy_error: VaultError | None = None
    findings: tuple[Finding, ...] = ()
    _jobs: tuple[Job, ...] = ()
    _active: dict[str, Run] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _beat: float | None = None
    _offset: float | None = None
    _leases: dict[str, Lease] = field(default_factory=dict)
    _fingerprint: object = None
    _edited: bool = False

    def __post_init__(self) -> None:
        self._fingerprint = self.ports.policies.fingerprint()
        self._judge = Judge(self.ports.host, self.started, self.ports.heartbeat)
        self._use(self.loaded)

    @property
    def active(self) -> tuple[Run, ...]:
        """The runs that go on."""
        with self._lock:
            return tuple(self._active.values())

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs of the policy in force."""
        return self._jobs

    def tick(self) -> timedelta:
        """Start what is due; return how long nothing will be."""
        now = self.ports.clock.now()
        if self._beat is None or self._clock_was_set(now):
            self._beat = None
            self.ports.journal.refresh(now)
            self._bury(now)
        if not self.stop.is_set():
            leading = self._leading()
            for job in self._jobs:
                if not job.shared or job.owner in leading:
                    self._consider(job, now)
        self._beat_if_due(now)
        return self._wait(now)

    def reload(self) -> None:
        """Take the policy as it is now; a broken one leaves the old one in force."""
        self._fingerprint = self.ports.policies.fingerprint()
        self._edited = False
        try:
            loaded = self.ports.policies.load()
            changed = difference(self.loaded.values, loaded.values)
            facts = {"host": self.ports.host, "from": self.loaded.digest, "to": loaded.digest}
            self.ports.ledger().append("schedule.reloaded", {**facts, "changed": changed})
            self.ports.policies.adopt(loaded)
        except (VaultError, OSError) as error:
            self.policy_error = _as_vault_error(error)
            _log.warning("the policy of before stays in force: %s", self.policy_error)
        else:
            self.policy_error = None
            self._use(loaded)
        self._beat = None

    def leave(self) -> None:
        """Give the leases back."""
        for lease in self._leases.values():
            lease.release()

    def _use(self, loaded: LoadedPolicy) -> None:
        self.loaded = loaded
        self.ports.tell.adopt(loaded)
        self._jobs = jobs_of(loaded.policy, self.ports.host)
        self.ports.journal.declare(self._jobs, self.ports.clock.now())

    def _clock_was_set(self, now: datetime) -> bool:
        offset = now.timestamp() - self.ports.clock.monotonic()
        before, self._offset = self._offset, offset
        return before is not None and abs(offset - before) > _CLOCK_SET

    def _consider(self, job: Job, now: datetime) -> None:
        with self._lock:
            if job.name in self._active or len(self._active) >= self.ports.parallel:
                return
        wanted = due(job, self.ports.journal.seen(job), now)
        if wanted is None:
            return
        run = self.ports.journal.claim(job, wanted, now)
        if run is None:
            return
        with self._lock:
            self._active[job.name] = run
        self.ports.submit(lambda: self._carry_out(job, run))

    def _carry_out(self, job: Job, run: Run) -> None:
        try:
            self.ports.tell.run(job, run)
            outcome, detail = self._outcome(job, run)
            ended = self.ports.journal.finish(run, outcome, detail, self.ports.clock.now())
            self.ports.tell.run(job, ended)
        finally:
            with self._lock:
                del self._active[job.name]
            self._beat = None if self._beat is None else float("-inf")
            self.ports.wake()

    def _outcome(self, job: Job, run: Run) -> tuple[Outcome, str]:
        try:
            arguments = job.config.arguments(self._facts(job, run))
            return self.ports.execute(job, run, arguments, self.stop)
        except VaultError as error:
            return Outcome.UNAVAILABLE, error.diagnostics()
        except OSError as error:
            return Outcome.UNAVAILABLE, f"{error.filename}: {error.strerror}"

    def _facts(self, job: Job, run: Run) -> Facts:
        drilled: dict[str, datetime] = {}
        if job.kind == "drill":
            host = None if job.shared else self.ports.host
            for drill in self.ports.catalog().newest_drills(host):
                drilled[drill.plan] = max(drill.started, drilled.get(drill.plan, drill.started))
        plans = tuple(self.loaded.policy.plans)
        return Facts(plans, drilled, run.scheduled, self.ports.state)

    def _leading(self) -> frozenset[str]:
        """Return the groups of hosts that this host works for now."""
        groups = {job.owner for job in self._jobs if job.shared}
        for group in groups - self._leases.keys():
            try:
                self._leases[group] = self.ports.catalog().lease(group)
            except VaultError as error:
                _log.debug("%s", error)  # the catalog being gone is a finding of its own
        return frozenset(
            group for group in groups & self._leases.keys() if self._leases[group].held()
        )

    def _bury(self, now: datetime, dead: Sequence[str] = ()) -> None:
        """Close runs that nobody carries out any more: of ourselves before a restart, of the dead.

        Only one scheduler runs on a host, so what is said to run here and is not ours has died.
        """
        ours = {run.id for run in self.active}
        for run in self.ports.journal.running():
            if run.id not in ours and run.host in (self.ports.host, *dead):
                words = f"its process on {run.host} ended without a word"
                self.ports.journal.finish(run, Outcome.DIED, words, now)

    def _beat_if_due(self, now: datetime) -> None:
        at = self.ports.clock.monotonic()
        if self._beat is not None and at - self._beat < self.ports.heartbeat.total_seconds():
            return
        self._beat = at
        self.ports.journal.refresh(now)
        self._look_at_the_files()
        journal = self.ports.journal
        troubles = Troubles(
            journal.trouble, journal.file_trouble, self.policy_error, edited=self._edited
        )
        seen = {job.name: self.ports.journal.seen(job) for job in self._jobs}
        found = self._judge.look(self.ports.catalog, self.loaded, self._jobs, seen, troubles, now)
        self._bury(now, [one.subject for one in found if one.kind == "silent-host"])
        view = View(
            self.ports.host, __version__, now, self.loaded, self._jobs, seen, found,
            self._judge.known,
        )  # fmt: skip
        found += self.ports.publisher.publish(view)
        found += self.ports.tell.look(found, now)
        self.findings = tuple(found)
        try:
            entry = self._judge.entry(self.loaded, self._jobs, self.findings, now)
            self.ports.catalog().put_host(entry)
        except VaultError as error:
            _log.warning("%s", error)

    def _look_at_the_files(self) -> None:
        """Notice changed policy files: a broken one is a finding before anybody reloads."""
        fingerprint = self.ports.policies.fingerprint()
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._edited = self.ports.policies.load().digest != self.loaded.digest
            self.policy_error = None
        except (VaultError, OSError) as error:
            self.policy_error, self._edited = _as_vault_error(error), False

    def _wait(self, now: datetime) -> timedelta:
        times = [at for job in self._jobs if (at := self._next(job, now)) is not None]
        soonest = min(times, default=now + self.ports.longest_wait) - now
        return max(SHORTEST_WAIT, min(soonest, self.ports.longest_wait, self.ports.heartbeat))

    def _next(self, job: Job, now: datetime) -> datetime | None:
        last = newest_run(self.ports.journal.seen(job), now)
        if last is not None and last.outcome is Outcome.UNAVAILABLE and last.finished:
            at = last.finished + backoff(job, last.attempt)
            if at > now and last.attempt <= job.retries:
                return at
        if last is not None and last.outcome in AGAIN:
            return now + timedelta(seconds=5)
        return next_after(job, now)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the paths of settings that were added, removed or changed, without their values."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return sorted(path for path in before.keys() | after.keys() if _differs(path, before, after))


def _differs(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return path not in before or path not in after or before[path] != after[path]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        found += _flat(value, path) if isinstance(value, dict) and value else [(path, value)]
    return found


def _as_vault_error(error: VaultError | OSError) -> VaultError:
    if isinstance(error, VaultError):
        return error
    return UnavailableError("policy", f"its files cannot be read: {error.strerror}", "look there")
