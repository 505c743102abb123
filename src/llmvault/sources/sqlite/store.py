"""The driver of SQLite database files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import SqliteSource
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
from llmvault.sources.sqlite.importing import WORKER, SqliteImporter
from llmvault.sources.sqlite.mode import reading_mode
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.erasing import going, ids_going
from llmvault.sources.stores.files import clone_file, copying, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import StoreProcess, store_process
from llmvault.sources.stores.residue import ResidueSearch
from llmvault.sources.stores.samples import presence_findings

_BUSY_SECONDS = 30.0


class SqliteDatabase:
    """A SQLite database file, captured by SQLite's online backup in one transaction.

    Writers of a database in WAL mode go on meanwhile; others wait with their commits until the
    pages are copied. Tables of sqlite-vec are read with its extension (extra ``sqlite``), without
    which they are captured and left unproven.
    """

    kind: ClassVar[str] = "sqlite"

    def __init__(self, name: str, config: SqliteSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the path of the file."""
        return str(self._config.path)

    def observe(self) -> Observation:
        """Look at the tables: counts, schema and samples, through a read-only connection."""
        self._require()
        with self._open(self._config.path, live=True) as store:
            return self._observation(store.observe())

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a copy of the database as it was at one moment, described from that very copy."""
        self._require()
        root = staging / "database"
        root.mkdir(mode=0o700)
        copy = root / self._config.path.name
        with _sqlite_errors(self._thing()), copying(self._thing()):
            _back_up(self._config.path, copy)
            copy.chmod(self._config.path.stat().st_mode & 0o777)
        try:
            with self._open(copy) as store:
                observation = self._observation(store.observe())
        except IntegrityError as error:
            observation = Observation(findings=(Finding("damaged", "", error.cause, "failed"),))
        yield TreeCapture(root, observation=observation)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Have SQLite look at every page of the restored file, and compare what is in it."""
        try:
            with self._open(self._restored(restored)) as store:
                found = self._observation(store.observe())
        except (IntegrityError, UnavailableError) as error:
            bad = isinstance(error, IntegrityError)
            verdict = Verdict.FAILED if bad else Verdict.UNPROVEN
            return (Check("database", self.name, verdict, error.cause),)
        pages = Check("database", self.name, Verdict.PROVEN, "SQLite finds every page in order")
        return (
            pages,
            *findings_check(self.name, found.findings),
            *compare_exactly(self.name, recorded.collections, found.collections),
        )

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the live file read-only."""
        self._require()
        with self._open(self._config.path, live=True) as store:
            yield store

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open the restored file as it lies there; it is not written to."""
        with self._open(self._restored(restored)) as store:
            yield store

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Copy the restored file to a new path.

        Raises:
            RefusedError: when there is a file already, or it is the live one.
        """
        target = refuse_address(address)
        refuse_place(target, self._config.path, directory=False)
        source = self._restored(restored)
        with copying(f"target {target}"):
            _place(source, target)
        with self._open(target) as store:
            return store.describe()

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Open a copy of the file as it was at one moment."""
        self._require()
        copy = scratch / "records.db"
        with _sqlite_errors(self._thing()), copying(self._thing()):
            _back_up(self._config.path, copy)
        try:
            with self._open(copy) as store:
                yield ServedPoints(store, at_one_moment=True)
        finally:
            copy.unlink(missing_ok=True)

    def private_target(self, scratch: Path) -> AbstractContextManager[RecordsTarget]:
        """Make a fresh file below `scratch`."""
        return self._importer().private_target(scratch)

    def target(self, address: str) -> AbstractContextManager[RecordsTarget]:
        """Open a new file."""
        return self._importer().target(address)

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Delete rows with ``secure_delete``, and rewrite the file and its log."""
        chosen = going(self.name, doomed, self._config.subject_field)
        with self.reading_records(scratch) as view:
            ids = ids_going(view, chosen)
        opening = {"path": str(self._config.path), "sample": 1, "live": True, "erase": True}
        with store_process(self._ports.runner, WORKER, self._thing(), opening) as store:
            deleted = store.ask("forget", given=ids)
            done = store.ask("purge")
        return Erased(deleted, tuple(done["steps"]), tuple(done["pending"]))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every row, and every byte of the file, its log and its journal."""
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        for suffix in ("", "-wal", "-journal", "-shm"):
            search.file(self._config.path.with_name(self._config.path.name + suffix))
        return search.report()

    def _importer(self) -> SqliteImporter:
        return SqliteImporter(self._ports, self._config.path)

    def _require(self) -> None:
        if not self._config.path.is_file():
            raise UnavailableError(
                self._thing(), "the file does not exist", "correct the path in the policy"
            )

    def _restored(self, restored: Path) -> Path:
        files = sorted(path for path in restored.iterdir() if path.is_file())
        named = restored / self._config.path.name
        if named.is_file():
            return named
        if len(files) != 1:
            raise IntegrityError(
                f"restored files {restored}",
                f"there are {len(files)} files where one database should be",
                "restore the source again",
            )
        return files[0]

    @contextmanager
    def _open(self, path: Path, *, live: bool = False) -> Iterator[StoreProcess]:
        thing = f"SQLite database {path}"
        opening = {"path": str(path), "sample": self._config.sample, "live": live}
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield store

    def _observation(self, seen: Observation) -> Observation:
        present = {facts.name for facts in seen.collections}
        missing = presence_findings(present, self._config.tables, noun="table")
        versions = {**seen.versions, **_packages()}
        return Observation(
            findings=(*missing, *seen.findings),
            collections=seen.collections,
            versions=versions,
            details=seen.details,
        )

    def _thing(self) -> str:
        return f"SQLite database {self._config.path}"


def _back_up(source: Path, target: Path) -> None:
    uri = f"file:{quote(os.fsencode(source))}?mode={reading_mode(source)}"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection,
        closing(sqlite3.connect(target)) as copy,
    ):
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        # a lock of ours comes first: backup() itself would wait for another's for ever
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.backup(copy)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.restoring")
    try:
        clone_file(source, unfinished)
        unfinished.chmod(source.stat().st_mode & 0o777)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _sqlite_errors(thing: str) -> Iterator[None]:
    try:
        yield
    except VaultError:
        raise
    except sqlite3.OperationalError as error:
        full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        step = "free space where captures are staged" if full else "try again when it is less busy"
        raise UnavailableError(thing, f"it cannot be copied: {error}", step) from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(
            thing, f"it is damaged: {error}", "restore it from a recovery point"
        ) from error


def _packages() -> dict[str, str]:
    try:
        return {"sqlite-vec": version("sqlite-vec")}
    except PackageNotFoundError:
        return {}
