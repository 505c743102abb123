"""The driver of Chroma stores."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import ChromaSource
from llmvault.sources.chroma import checks
from llmvault.sources.chroma.client import open_server, server_version
from llmvault.sources.chroma.directory import DirectoryCopy, clone_tree, copy_store
from llmvault.sources.chroma.engine import engine_on
from llmvault.sources.chroma.importing import ChromaImporter, refuse_used_directory
from llmvault.sources.chroma.layout import (
    DATABASE,
    Layout,
    carry_others,
    collection_findings,
    index_findings,
    read_layout,
    reading,
    was_interrupted,
)
from llmvault.sources.chroma.opened import OpenChroma, engine_errors
from llmvault.sources.chroma.points import ChromaPoints, undone_on_error
from llmvault.sources.chroma.records import Database, collection_facts
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
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.erasing import (
    Going,
    Remaking,
    erase_by_remaking,
    going,
    ids_going,
)
from llmvault.sources.stores.files import copying, emptied_on_error
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import StoreProcess
from llmvault.sources.stores.residue import ResidueSearch

_ATTEMPTS = 2


class ChromaStore:
    """A Chroma store: a PersistentClient directory (``path``) or a running server (``url``).

    A directory is captured as it is, consistently (:mod:`llmvault.sources.chroma.directory`), and
    the copy is opened by the engine before it is handed out. Of a server only records can be
    captured: those of the databases of its default tenant.
    """

    kind: ClassVar[str] = "chroma"

    @property
    def capture_by_default(self) -> str:
        """What is captured when the policy does not say."""
        return "records" if self._config.path is None else "native"

    def __init__(self, name: str, config: ChromaSource, ports: SourcePorts) -> None:
        if (config.path is None) == (config.url is None):
            raise PolicyError(
                f'source "{name}"',
                "a chroma source needs either path or url",
                "give one of them in the policy",
            )
        if config.url is not None and config.capture == "native":
            raise PolicyError(
                f'source "{name}"',
                "a Chroma server has no snapshots, so only its records can be captured",
                "leave out capture: native",
            )
        self.name = name
        self._config = config
        self._ports = ports
        self._url = plain_url(config.url, f'source "{name}"') if config.url is not None else ""

    def location(self) -> str:
        """Return the directory, or the server's address."""
        return str(self._config.path or self._url)

    def observe(self) -> Observation:
        """Look at the tables of a directory, or ask a server for its collections and counts."""
        if self._config.path is not None:
            return self._observe_directory(self._config.path)
        with self._server() as store, engine_errors(f"Chroma server {self.location()}"):
            facts = tuple(
                collection_facts(each.header, each.count(), ()) for each in store.collections()
            )
        return self._observation(facts, ())

    def _observe_directory(self, path: Path) -> Observation:
        if was_interrupted(path):
            detail = "a writer was killed in a transaction; it is rolled back on capture"
            finding = Finding("interrupted-transaction", DATABASE, detail, "warning")
            return Observation(findings=(finding,))
        with reading(path) as connection:
            layout = read_layout(connection)
        return self._observation(layout.facts(), index_findings(path, layout), layout)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a copy of the directory.

        Raises:
            RefusedError: for a server.
        """
        if self._config.path is None:
            raise RefusedError(
                f"Chroma server {self.location()}",
                "it has no snapshots, so only its records can be captured",
                "set capture: records",
            )
        root, observation = self._capture_directory(self._config.path, staging)
        yield TreeCapture(root, observation=observation)

    def _capture_directory(self, path: Path, staging: Path) -> tuple[Path, Observation]:
        root = staging / "store"
        for _ in range(_ATTEMPTS):
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(mode=0o700)
            copy = copy_store(path, root, self._ports.clock)
            try:
                facts: Sequence[CollectionFacts] = self._prove(root, copy, staging)
                broken: tuple[Finding, ...] = ()
                break
            except IntegrityError as error:
                facts = copy.layout.facts()
                broken = (Finding("cannot-open", "", error.cause, "failed"),)
        found = (*index_findings(path, copy.layout), *copy.findings, *broken)
        return root, self._observation(facts, found, copy.layout)

    def _prove(self, root: Path, copy: DirectoryCopy, staging: Path) -> tuple[CollectionFacts, ...]:
        """Return what the engine says of a copy; of a second one, for opening writes to it."""
        with tempfile.TemporaryDirectory(prefix="probe-", dir=staging) as probe:
            clone_tree(root, Path(probe) / "store")
            with self._open(Path(probe) / "store", copy.layout.databases) as engine:
                return engine.describe()

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Check a restored directory with SQLite and against its headers."""
        if not (restored / DATABASE).is_file():
            detail = f"{DATABASE} is not there"
            return (Check("database", self.name, Verdict.FAILED, detail),)
        return checks.check_directory(self.name, restored, recorded)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the server, or a private copy of the directory: opening one writes to it."""
        if self._config.path is None:
            with self._server() as store:
                yield store
            return
        with tempfile.TemporaryDirectory(prefix="llmvault-chroma-") as private:
            root = Path(private) / "store"
            root.mkdir()
            copy = copy_store(self._config.path, root, self._ports.clock)
            with self._open(root, copy.layout.databases) as engine:
                yield engine

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open a copy of the restored directory.

        A copy, because the engine writes to what it opens, and what was restored is to stay as it
        was verified. It is removed afterwards.
        """
        with (
            tempfile.TemporaryDirectory(prefix="chroma-", dir=scratch) as private,
            self._brought_up(restored, Path(private) / "store") as engine,
        ):
            yield engine

    @contextmanager
    def _brought_up(self, restored: Path, root: Path) -> Iterator[StoreProcess]:
        """Make a persist directory of restored files, and open it."""
        if not (restored / DATABASE).is_file():
            raise IntegrityError(
                f"restored files {restored}",
                "they hold neither a Chroma directory nor records of one",
                "restore the source again",
            )
        with copying(f"target {root}"):
            clone_tree(restored, root)
        with reading(root, immutable=True) as connection:
            databases = read_layout(connection).databases
        with self._open(root, databases) as engine:
            yield engine

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Load into a new directory, or into a server that has none of the collections.

        Raises:
            RefusedError: when the directory is not empty or lies in the live store, or the server
                already has one of the collections.
        """
        if urlsplit(address).scheme not in ("http", "https"):
            target = Path(address)
            self._refuse_directory(target)
            with emptied_on_error(target), self._brought_up(restored, target) as engine:
                return engine.describe()
        with tempfile.TemporaryDirectory(prefix="llmvault-chroma-") as private:
            root = Path(private) / "store"
            with self._brought_up(restored, root) as engine:
                engine.describe()  # in a process of its own: a damaged index crashes the engine
            return self._load_into_server(root, plain_url(address, "the target"))

    def _load_into_server(self, root: Path, url: str) -> tuple[CollectionFacts, ...]:
        with reading(root, immutable=True) as connection:
            databases = read_layout(connection).databases
        sample = self._config.sample
        with (
            self._open(root, databases) as store,
            open_server(url, self._token(), sample=sample) as server,
            undone_on_error(ChromaPoints(server, at_one_moment=False)) as target,
        ):
            view = ServedPoints(store, at_one_moment=True)
            for wanted in view.record_sets():
                target.add(target.create(wanted), view.points(wanted.name))
            return tuple(facts for facts in server.describe() if facts.name in target.made)

    def _refuse_directory(self, target: Path) -> None:
        live = self._config.path
        if live is not None and target.resolve().is_relative_to(live.resolve()):
            raise RefusedError(
                f"target {target}", "it is, or lies in, the live store", "give a new directory"
            )
        refuse_used_directory(target)

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Read the points of a server, or of a copy of the directory."""
        if self._config.path is None:
            with self._server() as store:
                yield ChromaPoints(store, at_one_moment=False)
            return
        root = scratch / "store"
        root.mkdir(mode=0o700)
        copy = copy_store(self._config.path, root, self._ports.clock)
        with self._open(root, copy.layout.databases) as store:
            yield ServedPoints(store, at_one_moment=True)

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh persist directory below `scratch`."""
        with ChromaImporter(self._ports).private_target(scratch) as target:
            yield target

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory, or a server with the source's token."""
        if urlsplit(address).scheme not in ("http", "https"):
            self._refuse_directory(Path(address))
        with ChromaImporter(self._ports, self._token()).target(address) as target:
            yield target

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Make the directory anew without the points; delete them from a server.

        ``chroma vacuum`` leaves deleted vectors in the index, and ``delete_collection`` leaves the
        index's files, so only a new directory holds none of them.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        if self._config.path is None:
            return self._erase_from_server(chosen)
        how = Remaking(
            live=self._config.path,
            thing=f"Chroma store {self._config.path}",
            reading=self.reading_records,
            making=ChromaImporter(self._ports).target,
            carry=carry_others,
        )
        return erase_by_remaking(how, chosen, scratch)

    def _erase_from_server(self, chosen: Going) -> Erased:
        with self._server() as store, engine_errors(f"Chroma server {self.location()}"):
            ids = ids_going(ChromaPoints(store, at_one_moment=False), chosen)
            for collection in store.collections():
                collection.forget(ids.get(collection.header.qualified_name, ()))
        pending = "its index and database keep deleted records: stop the server and erase from its "
        pending += "directory"
        deleted = {name: len(some) for name, some in ids.items()}
        return Erased(deleted, ("deleted by the server",), (pending,))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every record, and every byte of the directory."""
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        if self._config.path is None:
            search.unread("its files are the server's, and not looked at")
        else:
            search.tree(self._config.path)
        return search.report()

    @contextmanager
    def _server(self) -> Iterator[OpenChroma]:
        with open_server(self._url, self._token(), sample=self._config.sample) as store:
            yield store

    @contextmanager
    def _open(self, path: Path, databases: Sequence[Database]) -> Iterator[StoreProcess]:
        with engine_on(
            path, databases, sample=self._config.sample, runner=self._ports.runner
        ) as engine:
            yield engine

    def _token(self) -> Secret | None:
        reference = self._config.token
        return self._ports.secrets.resolve(reference) if reference is not None else None

    def _observation(
        self,
        facts: Sequence[CollectionFacts],
        found: Sequence[Finding],
        layout: Layout | None = None,
    ) -> Observation:
        expected = collection_findings({each.name for each in facts}, self._config.collections)
        if layout is None:
            versions = {"chroma": server_version(self.location(), self._token())}
            details: dict[str, object] = {"mode": "records"}
        else:
            versions = {"chromadb": _package_version()}
            details = {"mode": "directory", "migrations": dict(layout.migrations)}
        return Observation(
            findings=(*expected, *found),
            collections=tuple(facts),
            versions=versions,
            details=details,
        )


def _package_version() -> str:
    try:
        return version("chromadb")
    except PackageNotFoundError:
        return ""
