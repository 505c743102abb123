"""Whole clusters, for real: base backups, archived WAL, a point in time, and bad input."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.secrets import parse_secret_ref
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import PostgresClusterSource
from llmvault.sources.interface import Observation, Source
from llmvault.sources.postgres.physical import PostgresCluster
from tests.contract.source import (
    OpensContract,
    SourceContract,
    SourceExample,
    capture_into,
    local_ports,
)
from tests.servers import PostgresServer, free_port, postgres_server

pytestmark = pytest.mark.integration

TABLE = "CREATE TABLE passages (id int PRIMARY KEY, v vector(3))"
ROWS = (
    "INSERT INTO passages SELECT i, ARRAY[i, 1, 2]::vector "
    "FROM generate_series(%s::int, %s::int) AS i"
)


@pytest.fixture(scope="module")
def archive() -> Iterator[Path]:
    """Make a directory that the server's account may write to."""
    directory = Path(tempfile.mkdtemp(prefix="llmvault-test-wal-", dir="/var/tmp"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL 16, whose pg_verifybackup works, with a WAL archive."""
    own = (
        "archive_mode=on",
        f"archive_command=cp %p {archive}/.%f && mv {archive}/.%f {archive}/%f",
    )
    with postgres_server(16, own=own) as running:
        yield running


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> str:
    url = server.create("live")
    with server.connect("live") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(TABLE)
        connection.execute(ROWS, (1, 100))
    return url


def cluster(
    server: PostgresServer, url: str, *, archive: Path | None = None, timeout: float = 60
) -> PostgresCluster:
    config = PostgresClusterSource(
        kind="postgres_cluster",
        url=url,
        password=parse_secret_ref("env:DATABASE_PASSWORD"),
        binaries=server.programs,
        wal_archive=archive,
        archive_timeout=timedelta(seconds=timeout),
        sample=5,
    )
    environment = {"PATH": os.environ["PATH"], "DATABASE_PASSWORD": server.password}
    return PostgresCluster("cluster", config, local_ports(environment))


def capture(source: Source, place: Path) -> tuple[Path, Observation]:
    place.mkdir()
    observation, _ = capture_into(source, place / "restored", place)
    return place / "restored", observation


class TestPostgresCluster(SourceContract, OpensContract):
    @pytest.fixture
    def example(self, server: PostgresServer, database: str) -> SourceExample:
        return SourceExample(
            cluster(server, database),
            files=frozenset({"base/PG_VERSION", "base/backup_manifest", "cluster.json"}),
            collections=frozenset({"passages", "passages.v"}),
            secrets=(server.password,),
        )

    @pytest.fixture
    def missing(self, server: PostgresServer) -> Source:
        return cluster(server, f"postgresql://postgres@127.0.0.1:{free_port()}/live")

    def damage(self, restored: Path) -> None:
        path = restored / "base" / "global" / "pg_control"
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_a_drill_goes_through_the_archive(
    server: PostgresServer, database: str, archive: Path, tmp_path: Path
) -> None:
    source = cluster(server, database, archive=archive)
    restored, recorded = capture(source, tmp_path / "one")
    assert recorded.findings == ()
    assert recorded.details["wal"]
    checks = source.check(restored, recorded)
    assert {check.name for check in checks} == {"base-backup", "wal"}
    assert combine(check.verdict for check in checks) is Verdict.PROVEN
    (tmp_path / "scratch").mkdir()
    with source.open_restored(restored, tmp_path / "scratch") as store:
        assert store.describe() == recorded.collections
    assert not list((tmp_path / "scratch").iterdir())
    for path in (restored / "wal").iterdir():
        path.unlink()
    with (
        pytest.raises(IntegrityError, match="did not start"),
        source.open_restored(restored, tmp_path / "scratch"),
    ):
        pass


def test_a_point_in_time_between_two_captures(
    server: PostgresServer, archive: Path, tmp_path: Path
) -> None:
    url = server.create("timed")
    with server.connect("timed") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(TABLE)
        connection.execute(ROWS, (1, 10))
    source = cluster(server, url, archive=archive)
    first, _ = capture(source, tmp_path / "first")
    with server.connect("timed") as connection:
        connection.execute(ROWS, (11, 20))
        (between,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        assert between is not None
        connection.execute("SELECT pg_sleep(0.01)")
        connection.execute("DELETE FROM passages")
    second, _ = capture(source, tmp_path / "second")
    until = between.astimezone(UTC).isoformat().replace("+00:00", "Z")
    address = f"{tmp_path / 'new'}?until={until}&wal={second / 'wal'}"
    found = {facts.name: facts.count for facts in source.load(first, address)}
    assert found["passages"] == 20
    assert (tmp_path / "new" / "PG_VERSION").read_text().strip() == "16"
    assert not (tmp_path / "new" / "postmaster.pid").exists()
    assert not (tmp_path / "new" / "recovery.signal").exists()
    assert archive.name not in (tmp_path / "new" / "postgresql.auto.conf").read_text()


def test_a_time_that_the_wal_does_not_reach_is_told(
    server: PostgresServer, database: str, archive: Path, tmp_path: Path
) -> None:
    source = cluster(server, database, archive=archive)
    restored, _ = capture(source, tmp_path / "one")
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    with pytest.raises(IntegrityError, match="before configured recovery target"):
        source.load(restored, f"{tmp_path / 'new'}?until={later}")
    assert not (tmp_path / "new").exists()
    with pytest.raises(PolicyError, match="until"):
        source.load(restored, f"{tmp_path / 'new'}?until=tomorrow")
    with pytest.raises(PolicyError, match="no option"):
        source.load(restored, f"{tmp_path / 'new'}?til={later}")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(RefusedError):
        source.load(restored, str(tmp_path / "used"))


def test_wal_that_is_not_archived_is_unproven(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "not-the-archive"
    elsewhere.mkdir()
    source = cluster(server, database, archive=elsewhere, timeout=0.2)
    _, recorded = capture(source, tmp_path / "one")
    told = [(finding.name, finding.severity) for finding in recorded.findings]
    assert told == [("wal-not-archived", "unproven")]


def test_a_role_without_the_right_is_told(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    with server.connect("live") as connection:
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{server.password}'")
        connection.execute("GRANT pg_read_all_data TO reader")
    source = cluster(server, server.url("live", role="reader"))
    with pytest.raises(UnavailableError) as raised:
        capture(source, tmp_path / "one")
    assert "REPLICATION" in raised.value.next_step
    assert server.password not in raised.value.diagnostics()


def test_a_verification_that_crashes_is_made_up_for(tmp_path: Path) -> None:
    with postgres_server(18) as other:
        url = other.create("live")
        with other.connect("live") as connection:
            connection.execute("CREATE TABLE notes (id int PRIMARY KEY)")
            connection.execute("INSERT INTO notes VALUES (1)")
        source = cluster(other, url)
        restored, recorded = capture(source, tmp_path / "one")
    assert {finding.severity for finding in recorded.findings} <= {"warning"}
    (check,) = source.check(restored, recorded)
    assert check.verdict is Verdict.PROVEN
    victim = restored / "base" / "global" / "pg_control"
    victim.write_bytes(victim.read_bytes()[:-1] + b"\xff")
    (check,) = source.check(restored, recorded)
    assert check.verdict is Verdict.FAILED
