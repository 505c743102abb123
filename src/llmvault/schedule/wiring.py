"""The scheduler of this installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from llmvault.app import App
from llmvault.app.notify import post_of
from llmvault.core.errors import PolicyError, VaultError
from llmvault.core.files import remove_tree, write_durably
from llmvault.core.units import format_time
from llmvault.policy.load import copy_policy, load_policy
from llmvault.policy.loaded import LoadedPolicy
from llmvault.recovery_points.find import entry_of, local_manifests
from llmvault.schedule.books import BookStore
from llmvault.schedule.daemon import Daemon, DaemonPorts, Publisher, Teller
from llmvault.schedule.execute import ChildExecution
from llmvault.schedule.findings import overdue_since
from llmvault.schedule.journal import Journal
from llmvault.schedule.model import BEATS_UNTIL_SILENT, Job
from llmvault.schedule.plan import jobs_of, newest_run
from llmvault.schedule.tell import PolicyTeller, TellerPorts
from llmvault.schedule.times import next_after

if TYPE_CHECKING:
    from llmvault.catalog.session import Catalog

_COPIES_KEPT = 3


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """How the scheduler runs.

    Attributes:
        heartbeat: how often this host tells that it is there.
        finish_within: how long runs may go on once it is told to stop.
        parallel: runs at the same time, at most.
    """

    heartbeat: timedelta
    finish_within: timedelta
    parallel: int


class Loop(Protocol):
    """What calls the daemon and carries its runs out."""

    def submit(self, work: Callable[[], None]) -> None:
        """Carry something out in a thread."""

    def wake(self) -> None:
        """Have the daemon look again soon."""


def journal_of(app: App) -> Journal:
    """Return what is known of this host's jobs."""
    file = app.settings.state / "schedule" / "journal.json"
    return Journal(app.settings.host, file, lambda: _indexed(app))


def _indexed(app: App) -> Catalog:
    """Return the catalog, knowing the recovery points that were made since it was opened."""
    catalog = app.catalog
    for manifest in local_manifests(app.memory, catalog.point_ids(app.settings.host)):
        catalog.add_point(entry_of(manifest))
    return catalog


class PolicyInForce:
    """The policy that runs go by: a copy, so that a file being edited changes nothing."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._copies = app.settings.state / "schedule" / "policy"
        self.place = app.settings.policies

    def fingerprint(self) -> object:
        """Return names, sizes and times of the policy's files."""
        found = []
        for file in sorted(self._app.settings.policies.rglob("*.yaml")):
            with suppress(OSError):
                state = file.stat()
                found.append((str(file), state.st_size, state.st_mtime_ns, state.st_ino))
        return tuple(found)

    def load(self) -> LoadedPolicy:
        """Read the policy as it is now."""
        return load_policy(self._app.settings.policies, self._app.settings.environment)

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Let runs go by a copy of a policy; copies of before that no run can need are removed."""
        self.place = copy_policy(loaded, self._copies)
        write_durably(self._copies / "current", loaded.digest.encode())
        others = sorted(
            (one for one in self._copies.iterdir() if one.is_dir() and one != self.place),
            key=lambda one: one.stat().st_mtime,
        )
        for old in others[: -_COPIES_KEPT + 1]:
            remove_tree(old)

    def begin(self) -> tuple[LoadedPolicy, VaultError | None]:
        """Adopt the policy and return it, or the last one that was right and why it is taken.

        Raises:
            PolicyError: when there is neither.
        """
        try:
            loaded = self.load()
        except PolicyError as error:
            last = self._last()
            if last is None:
                raise
            return last, error
        self.adopt(loaded)
        return loaded, None

    def _last(self) -> LoadedPolicy | None:
        try:
            digest = (self._copies / "current").read_text(encoding="ascii")
            loaded = load_policy(self._copies / digest, self._app.settings.environment)
        except (OSError, PolicyError):
            return None
        self.place = self._copies / digest
        return loaded


def build_daemon(
    app: App, settings: DaemonSettings, loop: Loop, tell: Teller, publisher: Publisher
) -> Daemon:
    """Return the scheduler of this host.

    Raises:
        PolicyError: when the policy is wrong and no right one was in force before.
    """
    policies = PolicyInForce(app)
    loaded, error = policies.begin()
    execute = ChildExecution(
        app.runner,
        app.clock,
        app.settings.state,
        lambda: policies.place,
        settings.finish_within.total_seconds(),
        app.settings.backups,
    )
    ports = DaemonPorts(
        clock=app.clock,
        host=app.settings.host,
        state=app.settings.state,
        journal=journal_of(app),
        ledger=lambda: app.ledger,
        catalog=lambda: _indexed(app),
        policies=policies,
        execute=execute,
        submit=loop.submit,
        wake=loop.wake,
        tell=tell,
        publisher=publisher,
        heartbeat=settings.heartbeat,
        parallel=settings.parallel,
    )
    return Daemon(ports, loaded, app.clock.now(), policy_error=error)


def teller_of(app: App) -> PolicyTeller:
    """Return what tells people of this host, and of all when it is the first of those there."""

    def speaks_for_all(now: datetime) -> bool:
        if app.settings.database_is_local:
            return True
        try:
            return app.catalog.first_host(now, BEATS_UNTIL_SILENT) in (None, app.settings.host)
        except VaultError:
            return True  # rather twice than not at all

    file = app.settings.state / "notify" / "told.json"
    ports = TellerPorts(app.clock, app.settings.host, post_of(app), BookStore(file), speaks_for_all)
    return PolicyTeller(ports)


def listen_address(app: App) -> str | None:
    """Return where scrapes are answered; nowhere when the policy is wrong at the start."""
    try:
        return app.policy.metrics.listen
    except PolicyError:
        return None  # the scheduler goes by the policy of before, and says so


def list_jobs(app: App) -> tuple[Mapping[str, Any], ...]:
    """Return the jobs of the policy with when each is next, how it last went, since when overdue.

    Times are RFC 3339 texts; None where there is none.
    """
    now, journal = app.clock.now(), journal_of(app)
    jobs = jobs_of(app.policy, app.settings.host)
    journal.follow(jobs)
    journal.refresh(now)
    return tuple(_listed(job, journal, now) for job in jobs)


def _listed(job: Job, journal: Journal, now: datetime) -> Mapping[str, Any]:
    seen = journal.known(job, now)
    last = newest_run(seen, now)
    late = overdue_since(job, seen, now)
    following = next_after(job, now)
    return {
        "job": job.name,
        "kind": job.kind,
        "owner": job.owner,
        "next": following and format_time(following),
        "last": last
        and {
            "scheduled": format_time(last.scheduled),
            "started": format_time(last.started),
            "finished": last.finished and format_time(last.finished),
            "outcome": last.outcome.value,
            "attempt": last.attempt,
            "missed": last.missed,
            "host": last.host,
            "detail": last.detail,
        },
        "overdue_since": late and format_time(late),
    }
