"""The driver of PostgreSQL databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import IntegrityError, RefusedError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import PostgresSource
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
    StreamCapture,
)
from llmvault.sources.postgres.archive import (
    FILENAME,
    dumping,
    list_archive,
    missing_members,
    missing_roles,
    restore_archive,
)
from llmvault.sources.postgres.cluster import ROLE, Cluster, private_cluster
from llmvault.sources.postgres.connection import (
    Address,
    Connection,
    connected,
    parse_address,
    snapshot,
    value,
)
from llmvault.sources.postgres.erasing import log_is_compressed, purge, server_files
from llmvault.sources.postgres.facts import OpenDatabase, read_roles, read_versions, server_major
from llmvault.sources.postgres.importing import PostgresImporter, refuse_occupied
from llmvault.sources.postgres.points import PostgresPoints
from llmvault.sources.postgres.programs import Programs, find_programs
from llmvault.sources.stores.erasing import going, ids_going
from llmvault.sources.stores.residue import ResidueSearch

_DATABASE = "restored"


class PostgresDatabase:
    """A PostgreSQL database, captured by ``pg_dump`` as one stream at one moment.

    The dump and what is recorded beside it (rows, digests, vectors, indexes, extensions) read the
    same exported snapshot. Drills restore it into a private cluster and search the vectors there.
    """

    kind: ClassVar[str] = "postgres"

    def __init__(self, name: str, config: PostgresSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports
        self._where = parse_address(config.url)

    def location(self) -> str:
        """Return the address without a password."""
        return str(self._where)

    def observe(self) -> Observation:
        """Look at the tables: exact counts, without samples."""
        with snapshot(self._address()) as connection:
            return self._observation(connection, sample=0)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the dump as a stream; the snapshot is held until the context is left."""
        address = self._address()
        with snapshot(address) as connection:
            programs = self._programs("pg_dump", at_least=server_major(connection))
            name = str(value(connection, "SELECT pg_export_snapshot()"))
            with dumping(self._ports.runner, programs, address, name) as pieces:
                observation = self._observation(connection, sample=self._config.sample)
                yield StreamCapture(FILENAME, pieces, observation)

    def _observation(self, connection: Connection, *, sample: int) -> Observation:
        opened = OpenDatabase(connection, sample=sample, wanted=self._config.vector_tables)
        return Observation(
            findings=(*_empty(opened), *self._vector_findings(opened)),
            collections=opened.describe(),
            versions=read_versions(connection),
            details={
                "tables": [[table.schema, table.name] for table in opened.tables],
                "roles": list(read_roles(connection)),
                "vectors": sorted(each.label for each in opened.vectors),
                "encoding": str(value(connection, "SHOW server_encoding")),
            },
        )

    def _vector_findings(self, opened: OpenDatabase) -> tuple[Finding, ...]:
        detail = "the policy names this vector column and it is not there"
        return tuple(
            Finding("vectors-missing", label, detail, "failed")
            for label in self._config.vector_tables
            if not opened.has_vectors(label)
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Check that the archive can be listed, is whole, and has data of every recorded table."""
        archive = restored / FILENAME
        if not archive.is_file():
            return (Check("archive", self.name, Verdict.FAILED, f"{FILENAME} is not there"),)
        try:
            programs = self._programs("pg_restore")
            listing = list_archive(self._ports.runner, programs, archive)
            missing = missing_members(archive, listing)
        except IntegrityError as error:
            return (Check("archive", self.name, Verdict.FAILED, str(error)),)
        except VaultError as error:
            return (Check("archive", self.name, Verdict.UNPROVEN, str(error)),)
        if missing:
            detail = f"{missing[0]} is listed and not there"
            return (Check("archive", self.name, Verdict.FAILED, detail),)
        told = f"pg_restore lists it, with the data of {len(listing.data)} tables"
        absent = [
            f"{schema}.{table}"
            for schema, table in recorded.details.get("tables", ())
            if not listing.has_table(schema, table)
        ]
        return (
            Check("archive", self.name, Verdict.PROVEN, told),
            self._tables_check(absent, recorded),
        )

    def _tables_check(self, absent: Sequence[str], recorded: Observation) -> Check:
        tables = recorded.details.get("tables", ())
        if not tables:
            detail = "no table was recorded to look for"
            return Check("tables", self.name, Verdict.UNPROVEN, detail)
        if absent:
            detail = f"the data of {absent[0]} is not in the archive"
            return Check("tables", self.name, Verdict.FAILED, detail)
        detail = f"the data of all {len(tables)} recorded tables is in the archive"
        return Check("tables", self.name, Verdict.PROVEN, detail)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the live database read-only."""
        with snapshot(self._address()) as connection:
            yield self._opened(connection)

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Restore the dump into a private cluster, and open it; all of it is removed afterwards."""
        ports = self._ports
        programs = self._programs("postgres")
        with private_cluster(programs, scratch, ports.runner, ports.clock) as cluster:
            self._create_roles(cluster, restored / FILENAME)
            _create_database(cluster, _DATABASE)
            address = cluster.address(_DATABASE)
            restore_archive(ports.runner, programs, restored / FILENAME, address)
            with snapshot(address) as connection:
                yield self._opened(connection)

    def _create_roles(self, cluster: Cluster, archive: Path) -> None:
        from psycopg import sql

        _create_database(cluster, "trial")
        missing = missing_roles(
            self._ports.runner, cluster.programs, archive, cluster.address("trial")
        )
        with connected(cluster.address(ROLE)) as connection:
            connection.execute("DROP DATABASE trial")
            for name in missing:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Restore the dump into an existing, empty database, in one transaction.

        A database that holds anything is refused, which covers the live one; that it is empty is
        what makes it safe, not what it is called. Owners and grants are restored by a superuser
        only, and the roles must exist.

        Raises:
            RefusedError: when the database is not empty; nothing was written.
        """
        target = parse_address(address)
        with connected(target) as connection:
            refuse_occupied(connection, target)
            superuser = value(connection, "SHOW is_superuser") == "on"
            programs = self._programs("pg_restore", at_least=server_major(connection))
        plain = () if superuser else ("--no-owner", "--no-privileges")
        restore_archive(
            self._ports.runner,
            programs,
            restored / FILENAME,
            target,
            options=("--single-transaction", *plain),
        )
        with connected(target) as connection:
            connection.execute("ANALYZE")
            return self._opened(connection).describe()

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Read the tables of the live database, all of them at one moment."""
        with snapshot(self._address()) as connection:
            yield PostgresPoints(connection, wanted=self._config.vector_tables)

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a database in a private cluster."""
        with self._importer().private_target(scratch) as target:
            yield target

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open an existing, empty database."""
        with self._importer().target(address) as target:
            yield target

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Delete rows in one transaction, then write tables, statistics and log anew.

        ``VACUUM FULL`` locks each table while it is copied, which takes its space once more.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        with connected(self._address()) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            points = PostgresPoints(connection, wanted=self._config.vector_tables)
            ids = ids_going(points, chosen)
            deleted = {name: points.forget(name, some) for name, some in ids.items()}
            tables = [
                points.quoted_name(one.name)
                for one in points.record_sets()
                if chosen.concerns(one.name)
            ]
            connection.execute("COMMIT")
            steps, pending = purge(connection, tables)
        return Erased(deleted, tuple(steps), tuple(pending))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every row, and every byte of the database's files and the server's log.

        They are read through the server, as they lie on its disk since the last checkpoint.
        """
        search = ResidueSearch(wanted, control)
        with snapshot(self._address()) as connection:
            search.points(PostgresPoints(connection, wanted=self._config.vector_tables))
        with connected(self._address()) as connection:
            try:
                for name, content in server_files(connection):
                    search.bytes(name, content)
            except RefusedError as error:
                search.unread(f"{error}; {error.next_step}")
            if log_is_compressed(connection):
                search.unread("wal_compression is on: pages in its write-ahead log are not seen")
        return search.report()

    def _importer(self) -> PostgresImporter:
        return PostgresImporter(self._ports, self._config.binaries, self._config.vector_tables)

    def _opened(self, connection: Connection) -> OpenDatabase:
        return OpenDatabase(
            connection, sample=self._config.sample, wanted=self._config.vector_tables
        )

    def _address(self) -> Address:
        reference = self._config.password
        if reference is None:
            return self._where
        return Address(self._where.parameters, self._ports.secrets.resolve(reference))

    def _programs(self, program: str, *, at_least: int = 0) -> Programs:
        return find_programs(
            self._ports.runner, self._config.binaries, program=program, at_least=at_least
        )


def _empty(opened: OpenDatabase) -> tuple[Finding, ...]:
    if opened.tables:
        return ()
    return (Finding("no-tables", "", "the database holds no table", "unproven"),)


def _create_database(cluster: Cluster, name: str) -> None:
    from psycopg import sql

    with connected(cluster.address(ROLE)) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )
