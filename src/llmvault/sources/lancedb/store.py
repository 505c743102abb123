"""The driver of LanceDB databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import LancedbSource
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Doomed,
    Erased,
    Finding,
    Observation,
    OpenStore,
    ProbeReport,
    RecordsTarget,
    RecordsView,
    Sought,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.lancedb.directory import copy_tables, table_names
from llmvault.sources.lancedb.importing import WORKER, LanceImporter
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.erasing import going, ids_going
from llmvault.sources.stores.files import copying, place_tree, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import StoreProcess, store_process
from llmvault.sources.stores.residue import ResidueSearch
from llmvault.sources.stores.samples import presence_findings


class LanceDatabase:
    """A LanceDB database, captured as one version of every table.

    The newest version of each table is tagged, so that no clean-up removes its files; then its
    files are copied, the manifest last, and the tags are taken away again. Files of a version never
    change, so writers go on meanwhile. Tags that a killed run left behind are swept by the next.
    """

    kind: ClassVar[str] = "lancedb"

    def __init__(self, name: str, config: LancedbSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the path of the directory."""
        return str(self._config.path)

    def observe(self) -> Observation:
        """List the tables without the engine; what is in them is read from each capture's copy."""
        self._require()
        names = set(table_names(self._config.path))
        missing = presence_findings(names, self._config.tables, noun="table")
        return Observation(findings=missing, versions=_package(), details={"names": sorted(names)})

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a copy of one version of every table, described from that very copy."""
        self._require()
        root = staging / "lancedb"
        root.mkdir(mode=0o700)
        with self._open(self._config.path) as live:
            self._copy_pinned(live, root)
            try:
                live.ask("open", **self._opening(root))
                observation = self._observation(live.observe())
            except IntegrityError as error:
                observation = Observation(findings=(Finding("damaged", "", error.cause, "failed"),))
        yield TreeCapture(root, observation=observation)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Open the restored tables, read every vector, and compare."""
        if not table_names(restored):
            return (Check("tables", self.name, Verdict.FAILED, "there is no table"),)
        try:
            with self._open(restored) as store:
                found = self._observation(store.observe())
        except (IntegrityError, UnavailableError) as error:
            bad = isinstance(error, IntegrityError)
            verdict = Verdict.FAILED if bad else Verdict.UNPROVEN
            return (Check("tables", self.name, verdict, error.cause),)
        return (
            *findings_check(self.name, found.findings),
            *compare_exactly(self.name, recorded.collections, found.collections),
        )

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the live database for reading."""
        self._require()
        with self._open(self._config.path) as store:
            yield store

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open the restored directory as it lies there; it is not written to."""
        with self._open(restored) as store:
            yield store

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Copy the restored database into a new directory.

        Raises:
            RefusedError: when the directory is not empty or touches the live one.
        """
        target = refuse_address(address)
        refuse_place(target, self._config.path, directory=True)
        place_tree(restored, target)
        with self._open(target) as store:
            return store.describe()

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Open a copy of one version of every table."""
        self._require()
        root = scratch / "lancedb"
        root.mkdir(mode=0o700)
        with self._open(self._config.path) as store:
            self._copy_pinned(store, root)
            store.ask("open", **self._opening(root))
            yield ServedPoints(store, at_one_moment=True)

    def private_target(self, scratch: Path) -> AbstractContextManager[RecordsTarget]:
        """Make a fresh directory below `scratch`."""
        return self._importer().private_target(scratch)

    def target(self, address: str) -> AbstractContextManager[RecordsTarget]:
        """Open a new directory."""
        return self._importer().target(address)

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Delete rows, compact what is left, and remove every older version.

        Who reads an older version meanwhile loses it. A tag keeps the version it names.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        with self.reading_records(scratch) as view:
            ids = ids_going(view, chosen)
            concerned = [one.name for one in view.record_sets() if chosen.concerns(one.name)]
        with self._open(self._config.path) as store:
            deleted = store.ask("forget", given=ids)
            done = store.ask("purge", names=concerned)
        return Erased(deleted, tuple(done["steps"]), tuple(done["pending"]))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every row of every version, and every byte of the directory.

        Lance's files are compressed in part, so each version is read by Lance as well.
        """
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        with self._open(self._config.path) as store:
            points = ServedPoints(store, at_one_moment=True)
            for name, versions in store.ask("versions").items():
                for version in versions:
                    store.ask("go_to", name=name, version=version)
                    where = f"version {version} of {name}"
                    search.given(where, points.points(name), layer="files")
        search.tree(self._config.path)
        return search.report()

    def _importer(self) -> LanceImporter:
        return LanceImporter(self._ports, self._config.path, self._config.key)

    def _copy_pinned(self, live: StoreProcess, root: Path) -> None:
        pinned = {str(name): int(number) for name, number in live.ask("pin").items()}
        try:
            with copying(self._thing()):
                copy_tables(self._config.path, root, pinned)
        finally:
            live.ask("unpin")

    def _require(self) -> None:
        path = self._config.path
        if not path.is_dir():
            raise UnavailableError(
                self._thing(), "the directory does not exist", "correct the path in the policy"
            )

    @contextmanager
    def _open(self, path: Path) -> Iterator[StoreProcess]:
        thing = f"LanceDB database {path}"
        opening = self._opening(path)
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield store

    def _opening(self, path: Path) -> dict[str, object]:
        return {"path": str(path), "sample": self._config.sample, "key": self._config.key}

    def _observation(self, seen: Observation) -> Observation:
        present = {facts.name for facts in seen.collections}
        missing = presence_findings(present, self._config.tables, noun="table")
        return Observation(
            findings=(*missing, *seen.findings),
            collections=seen.collections,
            versions=_package(),
            details=seen.details,
        )

    def _thing(self) -> str:
        return f"LanceDB database {self._config.path}"


def _package() -> dict[str, str]:
    try:
        return {"lancedb": version("lancedb")}
    except PackageNotFoundError:
        return {}
