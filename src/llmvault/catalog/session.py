"""Opening the catalog: SQLite in the state directory, or PostgreSQL."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import IntegrityError as AlreadyThereError
from sqlmodel import Session, create_engine

from llmvault.catalog import (
    deletions,
    drills,
    fleet,
    holds,
    points,
    proofs,
    restores,
    schedule,
    whole,
)
from llmvault.catalog.lease import Lease
from llmvault.catalog.model import (
    DeletionEntry,
    DrillEntry,
    FleetToday,
    HostEntry,
    KnownPoint,
    NewestPoint,
    PointEntry,
    ProofEntry,
    RestoreEntry,
    RunEntry,
    SilentHost,
)
from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.files import private_directory

HEAD = "0004"

# Held while tables are made, so that of two processes that start at once one waits.
_LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7241860395)"}


@dataclass(frozen=True, slots=True)
class Catalog:
    """An open catalog."""

    engine: Engine

    def add_point(self, entry: PointEntry) -> None:
        """Record a recovery point; recording it again replaces it."""
        try:
            with self._transaction() as session:
                points.put(session, entry)
        except AlreadyThereError:  # another process entered it after we had looked for it
            with self._transaction() as session:
                points.put(session, entry)

    def points(self, plan: str | None = None) -> tuple[PointEntry, ...]:
        """Return the recovery points, newest first."""
        with self._transaction() as session:
            return points.listed(session, plan)

    def known_points(self) -> tuple[KnownPoint, ...]:
        """Return of every recovery point what retention decides by."""
        with self._transaction() as session:
            return points.known(session)

    def add_drill(self, entry: DrillEntry) -> None:
        """Record a drill; recording it again replaces it."""
        with self._transaction() as session:
            drills.put(session, entry)

    def drills(self, plan: str | None = None) -> tuple[DrillEntry, ...]:
        """Return the drills, newest first."""
        with self._transaction() as session:
            return drills.listed(session, plan)

    def add_restore(self, entry: RestoreEntry) -> None:
        """Record a restore."""
        with self._transaction() as session:
            restores.put(session, entry)

    def restores(self) -> tuple[RestoreEntry, ...]:
        """Return the restores, newest first."""
        with self._transaction() as session:
            return restores.listed(session)

    def add_proof(self, entry: ProofEntry) -> None:
        """Record what was established of a repository."""
        with self._transaction() as session:
            proofs.put(session, entry)

    def proofs(self, kind: str, repository: str | None = None) -> tuple[ProofEntry, ...]:
        """Return what was established, newest first."""
        with self._transaction() as session:
            return proofs.listed(session, kind, repository)

    def put_hold(self, identity: str, document: str) -> None:
        """Keep a hold's JSON document under its id, or replace it."""
        with self._transaction() as session:
            holds.put(session, identity, document)

    def holds(self) -> tuple[str, ...]:
        """Return the documents of all holds."""
        with self._transaction() as session:
            return holds.listed(session)

    def add_deletion(self, entry: DeletionEntry) -> None:
        """Record a deletion; one that is known stays as it is."""
        with self._transaction() as session:
            deletions.put(session, entry)

    def deletions(self, retention_class: str | None = None) -> tuple[DeletionEntry, ...]:
        """Return what retention deleted, newest first."""
        with self._transaction() as session:
            return deletions.listed(session, retention_class)

    def deleted_points(self) -> frozenset[str]:
        """Return the ids of the recovery points that were deleted from some repository."""
        with self._transaction() as session:
            return deletions.points(session)

    def forget_point(self, recovery_point: str, repository: str) -> bool:
        """Take a repository off a recovery point; return whether no repository has it now."""
        with self._transaction() as session:
            return deletions.forget_point(session, recovery_point, repository)

    def put_run(self, entry: RunEntry) -> None:
        """Record a run of a job; recording it again replaces it."""
        with self._transaction() as session:
            schedule.put_run(session, entry)

    def claim_run(self, entry: RunEntry, expected: int | None) -> bool:
        """Take a run for its host; False when another has it."""
        try:
            with self._transaction() as session:
                return schedule.claim_run(session, entry, expected)
        except AlreadyThereError:
            return False

    def newest_runs(self, owners: Collection[str], until: datetime) -> tuple[RunEntry, ...]:
        """Return the newest run of every job of some owners; none that began after `until`."""
        with self._transaction() as session:
            return schedule.newest_runs(session, owners, until)

    def put_host(self, entry: HostEntry) -> None:
        """Record that a host is there."""
        with self._transaction() as session:
            schedule.put_host(session, entry)

    def hosts(self) -> tuple[HostEntry, ...]:
        """Return the hosts of the fleet, by name."""
        with self._transaction() as session:
            return schedule.hosts(session)

    def fleet(self, until: datetime) -> FleetToday:
        """Return what tells how all hosts stand; points that began after `until` count not."""
        with self._transaction() as session:
            return fleet.today(session, until)

    def silent_hosts(self, now: datetime, beats: int) -> tuple[SilentHost, ...]:
        """Return the hosts that told nothing for more than some heartbeats, by name."""
        with self._transaction() as session:
            return schedule.silent_hosts(session, now, beats)

    def first_host(self, now: datetime, beats: int) -> str | None:
        """Return the first host by name that told something within some heartbeats, or None."""
        with self._transaction() as session:
            return schedule.first_host(session, now, beats)

    def runs_between(self, begin: datetime, end: datetime) -> tuple[RunEntry, ...]:
        """Return the runs of jobs of all hosts that began in a period, the oldest first."""
        with self._transaction() as session:
            return schedule.runs_between(session, begin, end)

    def host(self, name: str) -> HostEntry | None:
        """Return a host of the fleet, or None."""
        with self._transaction() as session:
            return schedule.host(session, name)

    def newest_points(self, until: datetime, host: str | None = None) -> tuple[NewestPoint, ...]:
        """Return the newest recovery point of each verdict of every plan: of a host, or of all."""
        with self._transaction() as session:
            return schedule.newest_points(session, until, host)

    def newest_point(self, plan: str, host: str, until: datetime) -> PointEntry | None:
        """Return the newest recovery point of a plan, of this host if it has one, until a moment.

        Where all began later, the newest of those is returned.
        """
        with self._transaction() as session:
            return schedule.newest_point(session, plan, host, until)

    def newest_drill(self, plan: str, host: str) -> DrillEntry | None:
        """Return the newest drill of a plan, of this host if it has one."""
        with self._transaction() as session:
            return schedule.newest_drill(session, plan, host)

    def newest_drills(self, host: str | None = None) -> tuple[DrillEntry, ...]:
        """Return the newest drill of each verdict of every plan: of a host, or of all."""
        with self._transaction() as session:
            return schedule.newest_drills(session, host)

    def point_ids(self, host: str) -> set[str]:
        """Return the ids of a host's recovery points."""
        with self._transaction() as session:
            return points.ids(session, host)

    def lease(self, group: str) -> Lease:
        """Return the lease under which one host of a group works for it; it is not taken yet."""
        return Lease(self.engine, group)

    def dump(self) -> tuple[Mapping[str, Any], ...]:
        """Return every row of every table as JSON values, to be kept elsewhere."""
        with self._transaction() as session:
            return tuple(whole.dumped(session))

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Enter rows that :meth:`dump` returned; those that are there already stay as they are.

        Raises:
            IntegrityError: when a row is none of ours.
        """
        with self._transaction() as session:
            whole.load(session, rows)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with _explained(self.engine), Session(self.engine) as session, session.begin():
            yield session


def open_catalog(url: str) -> Catalog:
    """Open the catalog, creating or migrating its tables first.

    Raises:
        UnavailableError: when the database cannot be reached, is locked, or is of a newer llmvault.
        IntegrityError: when it is damaged.
    """
    engine = _engine(url)
    try:
        with _explained(engine):
            _bring_up_to_date(engine)
    except VaultError:
        engine.dispose()
        raise
    return Catalog(engine)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)  # it may have been started anew
    if parsed.database:
        private_directory(Path(parsed.database).parent)
        Path(parsed.database).touch(mode=0o600)
    engine = create_engine(parsed)
    event.listen(engine, "connect", partial(_sqlite_pragmas, parsed.database))
    return engine


def _sqlite_pragmas(path: str | None, connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # the DB-API connection is untyped
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA synchronous=FULL")
    if path and cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        with _one_at_a_time(Path(path).parent):
            cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Let one process after the other change the journal's mode of a new database.

    SQLite does not wait for its turn here: of two that change it at once, one fails at once.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bring_up_to_date(engine: Engine) -> None:
    with engine.connect() as connection:
        current = _revision(connection) == HEAD
    if not current:
        _migrate(engine)


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("select version_num from alembic_version")).scalar())


def _migrate(engine: Engine) -> None:
    """Bring the tables up to date, all or nothing, while other processes wait."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        connection.exec_driver_sql(_LOCKS[engine.dialect.name])
        if _revision(connection) == HEAD:
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise UnavailableError(
                _name(engine), f"another llmvault made it: {error}", "use the newest llmvault"
            ) from error


def _name(engine: Engine) -> str:
    return f"catalog {engine.url.render_as_string(hide_password=True)}"


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(
            _name(engine), str(error.orig).strip(), "check LLMVAULT_DATABASE and the disk"
        ) from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise  # a mistake of ours, not the state of the database
        raise IntegrityError(
            _name(engine),
            str(error.orig).strip(),
            "move it away; it is made anew, and recovery-points list --scan fills it",
        ) from error
