"""The composition root: settings and policy become ports with concrete drivers behind them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from llmvault import __version__
from llmvault.core.clock import Clock, SystemClock
from llmvault.core.errors import PolicyError, UnavailableError, VaultError
from llmvault.core.files import private_directory
from llmvault.core.ids import Ids, RandomIds
from llmvault.core.process import LocalRunner, Runner
from llmvault.core.progress import Progress
from llmvault.core.secrets import SecretResolver
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.late import LateLedger
from llmvault.policy import model
from llmvault.policy.load import load_policy
from llmvault.policy.loaded import LoadedPolicy
from llmvault.recovery_points.find import entry_of, local_manifests
from llmvault.recovery_points.memory import Memory
from llmvault.restic.repo import Repository, restic_version
from llmvault.settings import Settings, load_settings
from llmvault.sources.interface import Source, SourcePorts
from llmvault.sources.registry import DRIVERS, build_importer, build_source, capabilities

if TYPE_CHECKING:
    from llmvault.backup.apply import BackupPorts, HoldsSnapshots
    from llmvault.backup.crosscheck import Pairing
    from llmvault.backup.model import BackupResult
    from llmvault.backup.plan import SourceChoice
    from llmvault.backup.quiesce import Hook
    from llmvault.backup.run import BackupRequest, GoldenRecorder
    from llmvault.catalog.session import Catalog
    from llmvault.doctor.model import Diagnosis
    from llmvault.doctor.run import DoctorPorts
    from llmvault.drill.engines.interface import Engine
    from llmvault.drill.hosts.interface import ScratchHost
    from llmvault.drill.run import DrillPorts
    from llmvault.drill.wiring import WiredEngine, Wiring
    from llmvault.ledger.interface import Ledger
    from llmvault.policy.quiesce import Quiesce
    from llmvault.restore.model import RestoreRequest, RestoreResult
    from llmvault.restore.records import Stores
    from llmvault.restore.run import RestorePorts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class App:
    """Everything a command needs, built when first used."""

    settings: Settings
    clock: Clock
    ids: Ids
    runner: Runner

    @cached_property
    def loaded(self) -> LoadedPolicy:
        """The policy that holds; errors name file and line."""
        return load_policy(self.settings.policies, self.settings.environment)

    @property
    def policy(self) -> model.Policy:
        """What the policy says."""
        return self.loaded.policy

    @cached_property
    def memory(self) -> Memory:
        """What this host remembers."""
        return Memory(self.settings.state)

    @cached_property
    def catalog(self) -> Catalog:
        """The database, knowing every recovery point of this host; imported when it is needed."""
        from llmvault.catalog.session import open_catalog

        catalog = open_catalog(self.settings.database)
        known = catalog.point_ids(self.settings.host) | catalog.deleted_points()
        for manifest in local_manifests(self.memory, known):
            catalog.add_point(entry_of(manifest))
        return catalog

    @cached_property
    def ledger(self) -> Ledger:
        """Where everything that deletes, restores or releases is written down."""
        return LateLedger(partial(_open_ledger, self))

    @cached_property
    def secrets(self) -> SecretResolver:
        """Resolves references to secrets."""
        return SecretResolver(self.settings.environment, self.runner)

    def plan(self, name: str) -> model.Plan:
        """Return a plan of the policy.

        Raises:
            PolicyError: when there is none of that name.
        """
        if name not in self.policy.plans:
            known = ", ".join(self.policy.plans) or "none"
            raise PolicyError(f'plan "{name}"', "the policy has no such plan", f"it has {known}")
        return self.policy.plans[name]

    def plan_names(self, named: Iterable[str] | None) -> tuple[str, ...]:
        """Return the named plans, or all of the policy.

        Raises:
            PolicyError: when one is unknown or the policy has none.
        """
        names = tuple(named or self.policy.plans)
        if not names:
            raise PolicyError(
                f"policy in {self.settings.policies}", "it has no plan", "declare one under plans:"
            )
        for name in names:
            self.plan(name)
        return names

    def repository(self, name: str) -> Repository:
        """Return a repository of the policy, with its secrets resolved."""
        declared = self.policy.repositories[name]
        return Repository(
            name=name,
            url=declared.url,
            password=self.secrets.resolve(declared.password),
            binary=self.settings.restic,
            cache=self.settings.state / "restic-cache",
            runner=self.runner,
            backend={key: self.secrets.resolve(ref) for key, ref in declared.environment.items()},
            connections=declared.connections,
            pack_size_mib=declared.pack_size_mib,
            written_ahead=declared.large_files == "fast",
            storage_class=declared.object_store.storage_class if declared.object_store else None,
            patience=declared.patience.total_seconds(),
        )

    def repositories(self, names: Iterable[str] | None = None) -> dict[str, Repository]:
        """Return repositories by name: the named ones, or all of the policy."""
        wanted = self.policy.repositories if names is None else names
        return {name: self.repository(name) for name in wanted}

    def source(self, name: str) -> Source:
        """Return the driver of a source of the policy."""
        return build_source(name, self.policy.sources[name], self.source_ports())

    def source_ports(self) -> SourcePorts:
        """Return what drivers of sources may use."""
        keep = self.settings.state / "records"
        return SourcePorts(self.runner, self.secrets, self.clock, keep)

    def live_paths(self) -> dict[str, Path]:
        """Return label -> path of what restores and drills must never touch."""
        paths: dict[str, Path] = {}
        for name, source in self.policy.sources.items():
            path = getattr(source, "path", None)
            if path is not None:
                paths[f'source "{name}"'] = path
        for name, repository in self.policy.repositories.items():
            if repository.local_path is not None:
                paths[f'repository "{name}"'] = repository.local_path
        return paths

    def versions(self) -> dict[str, str]:
        """Return the versions of what takes backups.

        Raises:
            UnavailableError: when restic is absent or too old.
        """
        restic = ".".join(map(str, restic_version(self.runner, self.settings.restic)))
        return {"llmvault": __version__, "restic": restic}

    def backup_ports(
        self, plan: str, progress: Progress, versions: Callable[[], Mapping[str, str]]
    ) -> BackupPorts:
        """Return what a backup of a plan works with; `versions` as of :meth:`versions`."""
        from llmvault.backup.apply import BackupPorts

        declared = self.plan(plan)
        return BackupPorts(
            clock=self.clock,
            runner=self.runner,
            host=self.settings.host,
            memory=self.memory,
            repositories=self.repositories(declared.repositories),
            sources={name: self.source(name) for name in declared.sources},
            progress=progress,
            versions=versions(),
            snapshots=self.snapshots(),
            ledger=self.ledger,
        )

    def backup_request(self, plan: str, sources: Iterable[str]) -> BackupRequest:
        """Return what a backup of a plan takes; `sources` limits it.

        Raises:
            PolicyError: when a source is not in the plan.
        """
        from llmvault.backup.run import BackupRequest

        declared = self.plan(plan)
        chosen = tuple(sources) or declared.sources
        for name in chosen:
            if name not in declared.sources:
                raise PolicyError(
                    f'source "{name}"',
                    f'plan "{plan}" does not have it',
                    ", ".join(declared.sources),
                )
        return BackupRequest(
            plan=plan,
            recovery_point=self.ids.new("rp", self.clock.now()),
            sources=tuple(self._choice(name, declared.snapshot) for name in chosen),
            pairings=self._pairings(declared),
            rto_seconds=declared.objectives.rto.total_seconds(),
            rpo_seconds=declared.objectives.rpo.total_seconds(),
            policy_digest=self.loaded.digest,
            partial=set(chosen) != set(declared.sources),
            hooks=tuple(_hook(one) for one in declared.quiesce),
            max_window=declared.max_window.total_seconds() if declared.max_window else None,
        )

    def back_up(self, plan: str, sources: Iterable[str], progress: Progress) -> BackupResult:
        """Take a recovery point of a plan.

        A catalog on this host is brought up to date when it is next read, so that a backup does not
        wait for the database library; one that other hosts read learns of it at once, or, when it
        cannot be reached, as soon as this host opens it again: the repository holds the truth.
        """
        with ThreadPoolExecutor(1) as pool:  # restic tells its version while modules are imported
            versions = pool.submit(self.versions)
            from llmvault.app.copying import carried_by
            from llmvault.backup.run import run_backup

            request = self.backup_request(plan, sources)
            recorder = None if request.partial else self.recorder(plan)
            ports = self.backup_ports(plan, progress, versions.result)
        carried = carried_by(self, ports.repositories)
        result, manifest = run_backup(replace(ports, carried=carried), request, recorder)
        carried.copy_if_due()
        if not self.settings.database_is_local:
            try:
                self.catalog.add_point(entry_of(manifest))
            except UnavailableError as error:
                _log.warning(
                    "%s is not listed in the catalog yet: %s", result.recovery_point, error
                )
        return result

    def bring_back(self, request: RestoreRequest, progress: Progress) -> RestoreResult:
        """Restore a recovery point and enter the restore into the catalog.

        The database library is imported while restic restores.
        """
        from llmvault.restore.run import restore_entry, run_restore

        now, ports = self.clock.now(), self.restore_ports(progress)
        with ThreadPoolExecutor(1) as pool:
            catalog = pool.submit(lambda: self.catalog)
            result = run_restore(ports, request)
            catalog.result().add_restore(restore_entry(result, now))
        return result

    def _choice(self, name: str, snapshot: str) -> SourceChoice:
        from llmvault.backup.plan import SourceChoice

        source = self.policy.sources[name]
        asked = getattr(source, "snapshot", "none") or snapshot
        return SourceChoice(name, source.kind, source.compression, asked, capabilities(source.kind))

    def snapshots(self) -> HoldsSnapshots:
        """Return what takes filesystem snapshots; imported when a source wants one or left one."""
        from llmvault.backup.apply import NoSnapshots

        directory = self.settings.state / "snapshots"
        wanted = any(plan.snapshot != "none" for plan in self.policy.plans.values()) or any(
            (getattr(source, "snapshot", None) or "none") != "none"
            for source in self.policy.sources.values()
        )
        if not wanted and not directory.exists():
            return NoSnapshots()
        from llmvault.snapshotters.interface import SnapshotterPorts
        from llmvault.snapshotters.mounts import read_mounts
        from llmvault.snapshotters.run import Snapshots

        ports = SnapshotterPorts(self.runner, self.clock, read_mounts)
        return Snapshots(
            directory, ports, record=lambda kind, facts: self.ledger.append(kind, facts)
        )

    def _pairings(self, plan: model.Plan) -> tuple[Pairing, ...]:
        from llmvault.backup.crosscheck import Pairing

        pairings = []
        for name in plan.drill.goldens:
            golden = self.policy.goldens[name]
            if isinstance(golden, model.NeighboursGolden):
                engine = self.policy.engines[golden.engine]
                pairings.append(
                    Pairing(golden.source, golden.collection, engine.source, engine.model)
                )
        return tuple(pairings)

    def wiring(self, plan: str) -> Wiring:
        """Return the engines, goldens and sources of a plan, joined."""
        from llmvault.drill.wiring import Wiring

        declared = self.plan(plan)
        sources = {name: self.source(name) for name in declared.sources}
        return Wiring(
            engines={name: self._wired(name, sources) for name in declared.drill.engines},
            goldens={name: self.policy.goldens[name] for name in declared.drill.goldens},
            sources=sources,
        )

    def _wired(self, name: str, sources: Mapping[str, Source]) -> WiredEngine:
        from llmvault.drill.wiring import WiredEngine

        config = self.policy.engines[name]
        source = sources.get(config.source) or self.source(config.source)
        return WiredEngine(self.engine(name), source, config.model, config.embedding)

    def engine(self, name: str) -> Engine:
        """Return an engine of the policy; nothing is started."""
        from llmvault.drill.engines.interface import EnginePorts
        from llmvault.drill.engines.registry import build_engine

        return build_engine(name, self.policy.engines[name], EnginePorts(self.runner, self.clock))

    def recorder(self, plan: str) -> GoldenRecorder | None:
        """Return what records goldens at a backup; None when the plan does not ask for it."""
        declared = self.plan(plan).drill
        if not declared.goldens or not declared.record_at_backup:
            return None
        from llmvault.drill.recorder import LiveRecorder

        roots = {
            name: path
            for name, source in self.policy.sources.items()
            if (path := getattr(source, "path", None)) is not None
        }
        logs = self.settings.state / "logs"
        private_directory(logs)
        return LiveRecorder(plan, self.wiring(plan), roots, self.memory, self.clock, logs)

    def drill_ports(self, plan: str, host: str, progress: Progress) -> DrillPorts:
        """Return what a drill of a plan works with."""
        from llmvault.drill.run import DrillPorts

        declared = self.plan(plan)
        return DrillPorts(
            clock=self.clock,
            ids=self.ids,
            host=self.host(host),
            memory=self.memory,
            repositories=self.repositories(declared.repositories),
            wiring=self.wiring(plan),
            progress=progress,
            versions=self.versions(),
            policy_digest=self.loaded.digest,
            rto_seconds=declared.objectives.rto.total_seconds(),
            rpo_seconds=declared.objectives.rpo.total_seconds(),
            scratch_free_factor=declared.drill.scratch_free_factor,
            history=lambda: self.catalog.drills(plan),
            record=lambda entry: self.catalog.add_drill(replace(entry, host=self.settings.host)),
            storage=lambda: self._tamper(declared.repositories),
            ledger=self.ledger,
        )

    def _tamper(self, repositories: Iterable[str]) -> Sequence[Check]:
        from llmvault.app.buckets import tamper_checks

        return tamper_checks(self, repositories)

    def restore_ports(self, progress: Progress) -> RestorePorts:
        """Return what a restore works with."""
        from llmvault.restore.run import RestorePorts

        return RestorePorts(
            clock=self.clock,
            ids=self.ids,
            repositories=self.repositories(),
            sources={name: self.source(name) for name in self.policy.sources},
            live={**self.live_paths(), "state directory": self.settings.state},
            memory=self.memory,
            progress=progress,
            stores=self.stores(),
            copies={
                name: declared.copy_of
                for name, declared in self.policy.repositories.items()
                if declared.copy_of is not None
            },
            ledger=self.ledger,
        )

    def stores(self) -> Stores:
        """Return what makes stores out of records."""
        from llmvault.restore.records import Stores

        return Stores(
            kinds=DRIVERS,
            importer=lambda kind: build_importer(kind, self.source_ports()),
            min_recall={
                name: golden.min_recall
                for name, golden in self.policy.goldens.items()
                if isinstance(golden, model.NeighboursGolden)
            },
        )

    def doctor_ports(self) -> DoctorPorts:
        """Return what the doctor looks at."""
        from llmvault.doctor.run import DoctorPorts

        return DoctorPorts(
            clock=self.clock,
            runner=self.runner,
            restic=self.settings.restic,
            state=self.settings.state,
            repositories={
                name: partial(self.repository, name) for name in self.policy.repositories
            },
            sources={name: self.source(name) for name in self.policy.sources},
            engines={name: self.engine(name) for name in self.policy.engines},
            host=self.host("local"),
            more=(self._diagnose_stores, self._diagnose_ledger),
        )

    def _diagnose_stores(self) -> Iterable[Diagnosis]:
        from llmvault.app.buckets import diagnose_stores

        return diagnose_stores(self)

    def _diagnose_ledger(self) -> Iterable[Diagnosis]:
        from llmvault.app.ledger import diagnose_ledger

        return diagnose_ledger(self.settings, self.policy.ledger, self.clock)

    def pin_ledger(self, *, copy: bool = False) -> tuple[Check, ...]:
        """Keep the ledger's newest checkpoint outside as the policy says, after something was done.

        What was done stands whatever comes of it: no trouble of a repository, a witness or an
        authority is raised.

        Args:
            copy: copy the ledger into the repositories even where nobody else keeps checkpoints.
        """
        declared = self.policy.ledger
        if not copy and not declared.witnesses and declared.time_stamps is None:
            return ()
        from llmvault.app.pinning import keep_outside

        try:
            return keep_outside(self, self.runner)
        except VaultError as error:
            return (Check("pinned", "", Verdict.UNPROVEN, error.diagnostics()),)

    def host(self, name: str) -> ScratchHost:
        """Return a scratch host."""
        from llmvault.drill.hosts.registry import build_host

        return build_host(name, base=self.settings.scratch, ids=self.ids, live=self.live_paths())


def _hook(declared: Quiesce) -> Hook:
    from llmvault.backup.quiesce import Hook

    return Hook(
        name=declared.name,
        freeze=declared.freeze,
        thaw=declared.thaw,
        freeze_timeout=declared.freeze_timeout.total_seconds(),
        timeout=declared.timeout.total_seconds(),
    )


def _open_ledger(app: App) -> Ledger:
    from llmvault.app.ledger import enter_policy, open_ledger

    ledger = open_ledger(app.settings, app.clock, app.ids)
    enter_policy(ledger, app.loaded, app.settings.state)
    return ledger


def build_app(*, policies: Path | None, state: Path | None) -> App:
    """Return the application for the command line's options."""
    settings = load_settings(policies=policies, state=state)
    return App(settings, SystemClock(), RandomIds(), LocalRunner(settings.environment))
