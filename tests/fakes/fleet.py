"""A fleet under a clock that tests set: hosts with schedulers whose runs take no time.

What a run would write into the catalog is written: backups leave recovery points, drills drills.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event

from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.catalog.session import Catalog
from llmvault.policy.load import load_policy
from llmvault.policy.loaded import LoadedPolicy
from llmvault.schedule.daemon import Daemon, DaemonPorts, Teller
from llmvault.schedule.journal import Journal
from llmvault.schedule.model import Finding, Job, Outcome, Run
from tests.fakes.ledger import MemoryLedger

START = datetime(2026, 2, 1, tzinfo=UTC)
_NUMBERS = count(1)


@dataclass
class Moved:
    """A clock that the test sets; `set_by` is what an operator added to the machine's time."""

    at: datetime = START
    set_by: timedelta = timedelta()

    def now(self) -> datetime:
        """Return the time of day."""
        return self.at + self.set_by

    def monotonic(self) -> float:
        """Return the seconds that really passed."""
        return (self.at - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass
class Askew:
    """The clock of one host, which somebody sets wrong, and right again.

    Attributes:
        true: the time that it is.
        wrong: from when, until when, by how much.
    """

    true: Moved
    wrong: Sequence[tuple[datetime, datetime, timedelta]]

    def now(self) -> datetime:
        """Return the time of day that the host believes in."""
        off = (by for begin, end, by in self.wrong if begin <= self.true.at < end)
        return self.true.at + next(off, timedelta())

    def monotonic(self) -> float:
        """Return the seconds that really passed."""
        return self.true.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.true.sleep(seconds)


@dataclass
class Told:
    """Remembers what people would be told."""

    findings: list[Finding] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    error: Finding | None = None

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Every policy is the same to it."""

    def run(self, job: Job, run: Run) -> None:
        """Remember a run."""
        self.runs.append(run)

    def look(self, findings: Sequence[Finding], now: datetime) -> Sequence[Finding]:
        """Remember findings."""
        self.findings.extend(findings)
        return (self.error,) if self.error else ()


@dataclass
class Host:
    """A host of the fleet.

    Attributes:
        policy: directory of its policy files.
        outcomes: how runs of a job end at some moments, instead of well.
        ran: the runs that it did, with their arguments.
    """

    name: str
    state: Path
    policy: Path
    clock: Moved | Askew
    catalog: Callable[[], Catalog]
    told: Told = field(default_factory=Told)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    outcomes: dict[tuple[str, datetime], Outcome] = field(default_factory=dict)
    ran: list[tuple[Run, tuple[str, ...]]] = field(default_factory=list)
    waiting: list[Callable[[], None]] | None = None
    _to_index: list[PointEntry] = field(default_factory=list)

    def start(self, tell: Teller | None = None) -> Daemon:
        """Return its scheduler, as after a boot."""
        ports = DaemonPorts(
            clock=self.clock,
            host=self.name,
            state=self.state,
            journal=Journal(self.name, self.state / "journal.json", self._indexed),
            ledger=lambda: self.ledger,
            catalog=self._indexed,
            policies=self,
            execute=self._execute,
            submit=self._submit,
            wake=lambda: None,
            tell=tell or self.told,
            heartbeat=timedelta(hours=12),
            longest_wait=timedelta(hours=12),
        )
        return Daemon(ports, self.load(), self.clock.now())

    def fingerprint(self) -> object:
        """Return what differs when the policy was changed."""
        return [(file.name, file.read_bytes()) for file in sorted(self.policy.glob("*.yaml"))]

    def load(self) -> LoadedPolicy:
        """Read the policy."""
        return load_policy(self.policy, {})

    def adopt(self, loaded: LoadedPolicy) -> None:
        """Runs here read no policy."""

    def _submit(self, work: Callable[[], None]) -> None:
        if self.waiting is None:
            work()
        else:
            self.waiting.append(work)

    def _execute(
        self, job: Job, run: Run, arguments: Sequence[str], stop: Event
    ) -> tuple[Outcome, str]:
        self.ran.append((run, tuple(arguments)))
        outcome = self.outcomes.pop((job.name, run.scheduled), Outcome.PROVEN)
        if outcome is Outcome.PROVEN and arguments[0] in ("backup", "drill"):
            self._enter(arguments[0], arguments[1])
        return outcome, f"{arguments[0]}: {outcome.value}"

    def _indexed(self) -> Catalog:
        """Return the catalog, knowing the recovery points that were made meanwhile."""
        catalog = self.catalog()
        while self._to_index:
            catalog.add_point(self._to_index.pop())
        return catalog

    def _enter(self, what: str, plan: str) -> None:
        now, number = self.clock.now(), next(_NUMBERS)
        if what == "backup":
            point = PointEntry(f"rp-{number}", plan, self.name, now, now, "proven", 1, 1, ())
            self._to_index.append(point)
        else:
            drill = DrillEntry(
                f"drill-{number}", plan, "rp", now, "proven", 900.0, 60.0, 90_000.0, 60.0, {},
                "/report.html", self.name,
            )  # fmt: skip
            self.catalog().add_drill(drill)


def simulate(
    hosts: Sequence[Host],
    clock: Moved,
    days: float,
    down: Callable[[str, datetime], bool] = lambda *_: False,
    stops: Sequence[datetime] = (),
) -> dict[str, Daemon]:
    """Let a fleet run for some days; a host that comes up again has only its files.

    Args:
        down: whether a host is down at a moment.
        stops: moments at which the clock stands still in any case.
    """
    daemons: dict[str, Daemon] = {}
    end = clock.at + timedelta(days=days)
    while clock.at < end:
        waits = [end - clock.at, *(stop - clock.at for stop in stops if stop > clock.at)]
        for host in hosts:
            if down(host.name, clock.at):
                daemons.pop(host.name, None)
                continue
            if host.name not in daemons:
                daemons[host.name] = host.start()
            waits.append(daemons[host.name].tick())
        clock.at += min(waits)
    return daemons
