"""Fresh PostgreSQL databases that points are written to, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmvault.core.errors import RefusedError
from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.postgres.cluster import private_cluster
from llmvault.sources.postgres.connection import (
    Address,
    Connection,
    connected,
    database_errors,
    parse_address,
    value,
)
from llmvault.sources.postgres.occupant import OCCUPANT
from llmvault.sources.postgres.points import PostgresPoints
from llmvault.sources.postgres.programs import Programs, find_programs

_LOADING = ("SET LOCAL maintenance_work_mem = '256MB'", "SET LOCAL synchronous_commit = off")


class PostgresImporter:
    """Makes databases (an ``ImportsRecords``).

    Args:
        binaries: directory of the server's programs; PATH and the usual places when None.
        wanted: labels of the vector columns to search.
    """

    def __init__(
        self, ports: SourcePorts, binaries: Path | None = None, wanted: Sequence[str] = ()
    ) -> None:
        self._ports = ports
        self._binaries = binaries
        self._wanted = wanted

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a database in a private cluster, removed when the context is left."""
        programs = self._programs()
        ports = self._ports
        with (
            private_cluster(programs, scratch, ports.runner, ports.clock) as cluster,
            connected(cluster.address("postgres")) as connection,
            _written(connection),
        ):
            yield PostgresPoints(connection, wanted=self._wanted)

    def _programs(self) -> Programs:
        return find_programs(self._ports.runner, self._binaries, program="postgres")

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open an existing, empty database; all is written in one transaction.

        Raises:
            RefusedError: when the database is not empty; nothing was written.
        """
        where = parse_address(address)
        with connected(where) as connection, _written(connection):
            refuse_occupied(connection, where)
            yield PostgresPoints(connection, wanted=self._wanted)


@contextmanager
def _written(connection: Connection) -> Iterator[None]:
    with database_errors("the target database"), connection.transaction():
        for statement in _LOADING:
            connection.execute(statement)
        yield


def refuse_occupied(connection: Connection, where: Address) -> None:
    """Raise unless a database is empty.

    Raises:
        RefusedError: when it holds anything.
    """
    if (occupant := value(connection, OCCUPANT)) is not None:
        raise RefusedError(
            f"database {where}",
            f"it is not empty: it has {occupant}",
            "create a new database and give its address",
        )
