"""What is wrong now, and how this host stands, from what the catalog and the journal know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmvault import __version__
from llmvault.app.copies import covered_by, earliest_lapse
from llmvault.copies.model import Coverage
from llmvault.core.errors import VaultError
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.model import Repository
from llmvault.schedule.findings import (
    of_drills,
    of_hosts,
    of_jobs,
    of_ledger,
    of_locks,
    of_promises,
    of_verification,
)
from llmvault.schedule.measure import Known
from llmvault.schedule.model import BEATS_UNTIL_SILENT, Finding, Job, Seen
from llmvault.schedule.times import next_after

if TYPE_CHECKING:
    from llmvault.catalog.model import DrillEntry, HostEntry, ProofEntry
    from llmvault.catalog.session import Catalog

_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Troubles:
    """What keeps the scheduler itself from working as it should.

    Attributes:
        catalog: why the catalog cannot be used.
        journal: why the journal cannot be written.
        policy: why the policy's files are not in force.
        edited: whether they differ from what is in force, and are right.
    """

    catalog: VaultError | None
    journal: VaultError | None
    policy: VaultError | None
    edited: bool


@dataclass
class Judge:
    """Judges for one host; remembers since when each plan is declared."""

    host: str
    started: datetime
    heartbeat: timedelta
    known: Known = field(default_factory=Known)
    _declared: dict[str, str] = field(default_factory=dict)

    def look(
        self,
        open_catalog: Callable[[], Catalog],
        loaded: LoadedPolicy,
        jobs: Sequence[Job],
        seen: Mapping[str, Seen],
        troubles: Troubles,
        now: datetime,
    ) -> list[Finding]:
        """Return everything that a person must know, each thing once."""
        found = [*of_jobs(jobs, seen, now), *self._of_troubles(troubles)]
        ledger = loaded.policy.ledger
        kept_outside = bool(ledger.witnesses) or ledger.time_stamps is not None
        found += of_ledger(jobs, seen, self.host, kept_outside=kept_outside)
        self.known = Known()
        try:
            found += self._of_the_catalog(open_catalog(), loaded, jobs, seen, now)
        except VaultError as error:
            found.append(finding_of("catalog-unavailable", self.host, error))
        return list({one.key: one for one in found}.values())

    def entry(
        self, loaded: LoadedPolicy, jobs: Sequence[Job], findings: Sequence[Finding], now: datetime
    ) -> HostEntry:
        """Return what this host tells the others."""
        from llmvault.catalog.model import HostEntry

        plans = {
            name: {
                "rpo_s": plan.objectives.rpo.total_seconds(),
                "rto_s": plan.objectives.rto.total_seconds(),
                "sources": len(plan.sources),
                "declared": self._declared.get(name, format_time(now)),
            }
            for name, plan in loaded.policy.plans.items()
        }
        return HostEntry(
            name=self.host,
            seen=now,
            started=self.started,
            heartbeat_s=self.heartbeat.total_seconds(),
            version=__version__,
            policy_digest=loaded.digest,
            plans=plans,
            jobs={job.name: _listed(job, now) for job in jobs},
            findings=tuple(as_json(finding) for finding in findings),
        )

    def _of_troubles(self, troubles: Troubles) -> list[Finding]:
        found = []
        if troubles.catalog is not None:
            found.append(finding_of("catalog-unavailable", self.host, troubles.catalog))
        if troubles.journal is not None:
            found.append(finding_of("journal-unwritable", self.host, troubles.journal))
        if troubles.policy is not None:
            found.append(finding_of("policy-broken", self.host, troubles.policy))
        if troubles.edited:
            found.append(
                Finding(
                    f"policy-edited/{self.host}", "policy-edited", "info", self.host, "policy",
                    "the policy's files were changed and are right; the old ones are in force",
                    "llmvault policy validate, then: systemctl reload llmvault",
                )
            )  # fmt: skip
        return found

    def _of_the_catalog(
        self,
        catalog: Catalog,
        loaded: LoadedPolicy,
        jobs: Sequence[Job],
        seen: Mapping[str, Seen],
        now: datetime,
    ) -> list[Finding]:
        asks_all = any(job.shared and job.kind == "drill" for job in jobs)
        drills = catalog.newest_drills(None if asks_all else self.host)
        own = [drill for drill in drills if drill.host == self.host]
        self._remember_promises(catalog.host(self.host), loaded, now)
        silent = catalog.silent_hosts(now, BEATS_UNTIL_SILENT)
        points = catalog.newest_points(now + _CLOCKS_DIFFER, self.host)
        repositories = _Repositories.of(catalog, loaded, now)
        self.known = Known(points, own, repositories.lapses(), repositories.covered)
        plans = {name: plan.sources for name, plan in loaded.policy.plans.items()}
        found = [
            *of_hosts(silent, now, self.host),
            *of_promises(self.entry(loaded, jobs, (), now), points, own, now),
            *repositories.findings(loaded, now),
        ]
        for job in jobs:
            looked_at = _looked_at(drills if job.shared else own)
            found += of_drills([job], plans, looked_at, now, seen)
        return found

    def _remember_promises(
        self, known: HostEntry | None, loaded: LoadedPolicy, now: datetime
    ) -> None:
        for plan, promise in (known.plans if known else {}).items():
            self._declared.setdefault(plan, promise["declared"])
        for plan in loaded.policy.plans:
            self._declared.setdefault(plan, format_time(now))


@dataclass(frozen=True, slots=True)
class _Repositories:
    """What is established of the policy's repositories.

    Attributes:
        locks: newest proof of each that declares a lock.
        covered: of each that was read back at all.
        since: when that began.
    """

    locks: Mapping[str, ProofEntry | None]
    covered: Mapping[str, Coverage]
    since: Mapping[str, datetime]

    @classmethod
    def of(cls, catalog: Catalog, loaded: LoadedPolicy, now: datetime) -> _Repositories:
        """Ask the catalog."""
        locks, covered, since = {}, {}, {}
        for name, declared in loaded.policy.repositories.items():
            if _renewal(declared) is not None:
                locks[name] = next(iter(catalog.proofs("lock", name)), None)
            readings = catalog.proofs("verification", name)
            if readings:
                covered[name] = covered_by(readings, declared.verification, now)
                since[name] = min(reading.at for reading in readings)
        return cls(locks, covered, since)

    def lapses(self) -> dict[str, datetime]:
        """Return when the first lock of each lapses, where that is known."""
        found = {name: earliest_lapse(proof) for name, proof in self.locks.items()}
        return {name: at for name, at in found.items() if at is not None}

    def findings(self, loaded: LoadedPolicy, now: datetime) -> list[Finding]:
        """Return what is wrong with them."""
        declared = loaded.policy.repositories
        terms = {name: _renewal(declared[name]) or timedelta() for name in self.locks}
        proofs = {name: proof for name, proof in self.locks.items() if proof is not None}
        within = {name: declared[name].verification.within for name in self.covered}
        return [
            *of_locks(terms, proofs, now),
            *of_verification(self.covered, self.since, within, now),
        ]


def _renewal(declared: Repository) -> timedelta | None:
    store = declared.object_store
    return store.lock.renewal if store and store.lock else None


def _looked_at(drills: Sequence[DrillEntry]) -> dict[str, datetime]:
    """Return plan -> when a drill last came to a verdict; unproven ones do not count."""
    found: dict[str, datetime] = {}
    for drill in drills:
        if drill.verdict != Verdict.UNPROVEN:
            found[drill.plan] = max(drill.started, found.get(drill.plan, drill.started))
    return found


def _listed(job: Job, now: datetime) -> dict[str, Any]:
    at = next_after(job, now)
    return {"kind": job.kind, "owner": job.owner, "next": at and format_time(at)}


def finding_of(kind: str, host: str, error: VaultError) -> Finding:
    """Return an error of the scheduler's own work as a finding; of several problems the first."""
    problems = [str(problem) for problem in getattr(error, "problems", ())]
    message = ": ".join([error.thing, error.cause, *problems[:1]])
    return Finding(f"{kind}/{host}", kind, "critical", host, error.thing, message, error.next_step)


def as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values."""
    return {name: getattr(finding, name) for name in Finding.__slots__}
