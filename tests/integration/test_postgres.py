"""PostgreSQL with pgvector, for real: dumps of one moment, drills in clusters, bad input."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import LiteralString

import psycopg
import pytest

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.process import Command, LocalRunner, Process
from llmvault.core.secrets import parse_secret_ref
from llmvault.core.verdict import Verdict
from llmvault.policy.sources import PostgresSource
from llmvault.sources.interface import Observation, SourcePorts, StreamCapture
from llmvault.sources.postgres import PostgresDatabase
from tests.contract.source import local_ports
from tests.servers import PostgresServer, free_port, postgres_programs, postgres_server

pytestmark = pytest.mark.integration

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a server for all tests of this module; each makes databases of its own."""
    with postgres_server() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer) -> str:
    """Return the name of a new, empty database."""
    name = f"live{next(_NUMBERS)}"
    server.create(name)
    return name


def execute(server: PostgresServer, database: str, *statements: LiteralString) -> None:
    with server.connect(database) as connection:
        for statement in statements:
            connection.execute(statement)


PASSAGES: tuple[LiteralString, ...] = (
    "CREATE EXTENSION vector",
    "CREATE TABLE passages (id int PRIMARY KEY, body text, embedding vector(3))",
    "INSERT INTO passages SELECT i, 'passage ' || i, ARRAY[i, i % 7, 1]::vector "
    "FROM generate_series(1, 100) AS i",
    "CREATE INDEX ON passages USING hnsw (embedding vector_l2_ops)",
)


def driver(
    server: PostgresServer,
    database: str,
    *,
    ports: SourcePorts | None = None,
    vector_tables: tuple[str, ...] = (),
    binaries: Path | None = None,
) -> PostgresDatabase:
    config = PostgresSource(
        kind="postgres",
        url=server.url(database),
        password=parse_secret_ref("env:DATABASE_PASSWORD"),
        binaries=binaries or server.programs,
        vector_tables=vector_tables,
    )
    return PostgresDatabase("documents", config, ports or ports_with(server.password))


def ports_with(password: str) -> SourcePorts:
    return local_ports({"PATH": "/usr/bin:/bin", "DATABASE_PASSWORD": password})


def capture(source: PostgresDatabase, tmp_path: Path) -> tuple[Path, Observation]:
    """Capture as a backup would; return the restored files and what was recorded."""
    target = Path(tempfile.mkdtemp(dir=tmp_path, prefix="restored-"))
    with source.capture(tmp_path) as captured:
        assert isinstance(captured, StreamCapture)
        assert captured.observation is not None
        with (target / captured.filename).open("wb") as stream:
            stream.writelines(captured.chunks)
        return target, captured.observation


# ---- the dump -----------------------------------------------------------------------------------


@contextmanager
def accounts_moving(server: PostgresServer, database: str) -> Iterator[None]:
    """Keep moving rows from one table to the other: their total number never changes."""
    stop, failures = Event(), list[Exception]()

    def move() -> None:
        try:
            with server.connect(database) as connection:
                while not stop.is_set():
                    for source, target in (("a", "b"), ("b", "a")):
                        connection.execute(
                            f"WITH gone AS (DELETE FROM {source} WHERE id IN (SELECT id FROM "
                            f"{source} ORDER BY random() LIMIT 40) RETURNING id, note) "
                            f"INSERT INTO {target} SELECT id, note FROM gone"
                        )
        except psycopg.Error as error:
            failures.append(error)

    thread = Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_dump_and_record_are_of_the_same_moment(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(
        server,
        database,
        "CREATE TABLE a (id int PRIMARY KEY, note text)",
        "CREATE TABLE b (id int PRIMARY KEY, note text)",
        "INSERT INTO a SELECT i, repeat('x', 200) FROM generate_series(1, 2000) AS i",
    )
    source = driver(server, database)
    with accounts_moving(server, database):
        restored, recorded = capture(source, tmp_path)
    counts = {facts.name: facts.count for facts in recorded.collections}
    assert counts["a"] + counts["b"] == 2000
    with source.open_restored(restored, tmp_path) as store:
        assert store.describe() == recorded.collections


def test_what_is_recorded(server: PostgresServer, database: str, tmp_path: Path) -> None:
    execute(
        server,
        database,
        *PASSAGES,
        'CREATE SCHEMA "Other"',
        'CREATE TABLE "Other"."odd name" (a int, "B c" text, PRIMARY KEY ("B c", a))',
        """INSERT INTO "Other"."odd name" VALUES (1, 'x'), (2, 'it''s')""",
        "CREATE TABLE keyless (t text)",
        "INSERT INTO keyless VALUES ('same'), ('same'), ('else')",
        "CREATE TABLE parent (id int, day date) PARTITION BY RANGE (day)",
        "CREATE TABLE parent_2026 PARTITION OF parent FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)",
        "INSERT INTO parent VALUES (1, '2026-06-01')",
    )
    restored, recorded = capture(driver(server, database), tmp_path)
    facts = {each.name: each for each in recorded.collections}
    assert {name: each.count for name, each in facts.items()} == {
        "Other.odd name": 2,
        "keyless": 3,
        "parent_2026": 1,
        "passages": 100,
        "passages.embedding": 100,
    }
    assert set(facts["Other.odd name"].sample_digests) == {'["it\'s", "2"]', '["x", "1"]'}
    assert len(facts["keyless"].sample_digests) == 2
    assert list(facts["passages"].sample_digests)[:3] == ["1", "10", "100"]
    vectors = facts["passages.embedding"]
    assert vectors.dimension == 3
    assert vectors.sample_vectors["10"] == (10.0, 3.0, 1.0)
    assert vectors.settings["distance"] == "l2"
    assert "USING hnsw (embedding vector_l2_ops)" in str(vectors.settings)
    assert recorded.versions["postgresql"] == "18.4"
    assert recorded.versions["vector"] == "0.8.5"
    assert not recorded.findings
    checks = driver(server, database).check(restored, recorded)
    assert [check.verdict for check in checks] == [Verdict.PROVEN, Verdict.PROVEN]


def test_digests_do_not_depend_on_where_rows_lie_or_how_sessions_are_set(
    server: PostgresServer, database: str
) -> None:
    execute(
        server,
        database,
        "CREATE TABLE t (id text PRIMARY KEY, at timestamptz, f float8, b bytea, v interval)",
        "INSERT INTO t SELECT chr(60 + i % 60) || i, '2026-01-02 03:04Z', 0.1 * i, '\\x00ff', "
        "'25:00' FROM generate_series(1, 300) AS i",
    )
    with driver(server, database).open_live() as store:
        before = store.describe()
    execute(
        server,
        database,
        "UPDATE t SET f = f",
        "VACUUM FULL t",
        "ALTER ROLE postgres SET timezone = 'Asia/Tokyo'",
        "ALTER ROLE postgres SET datestyle = 'German'",
        "ALTER ROLE postgres SET extra_float_digits = -5",
        "ALTER ROLE postgres SET bytea_output = 'escape'",
        "ALTER ROLE postgres SET intervalstyle = 'iso_8601'",
    )
    try:
        with driver(server, database).open_live() as store:
            assert store.describe() == before
    finally:
        execute(server, database, "ALTER ROLE postgres RESET ALL")


def test_an_unchanged_database_gives_the_same_table_data(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, *PASSAGES)
    source = driver(server, database)
    archives = [capture(source, tmp_path)[0] / "database.tar" for _ in range(2)]
    data = []
    for archive in archives:
        with tarfile.open(archive) as tar:
            members = {member.name: tar.extractfile(member) for member in tar}
            data.append({name: file.read() for name, file in members.items() if file})
    assert set(data[0]) == set(data[1])
    same = {name for name in data[0] if data[0][name] == data[1][name]}
    assert {name for name in data[0] if name[0].isdigit()} <= same


def test_the_password_is_in_the_environment_only(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    class Recording(LocalRunner):
        commands: list[Command]

        def start(
            self, command: Command, *, stdin: bool = False, log: Path | None = None
        ) -> Process:
            self.commands.append(command)
            return super().start(command, stdin=stdin, log=log)

    ports = ports_with(server.password)
    runner = Recording({"PATH": "/usr/bin:/bin"})
    runner.commands = []
    execute(server, database, "CREATE TABLE t ()")
    source = driver(server, database, ports=SourcePorts(runner, ports.secrets, ports.clock))
    capture(source, tmp_path)
    (command,) = runner.commands
    assert not [part for part in command.argv if server.password in part]
    assert command.environment["PGPASSWORD"] == server.password
    assert server.password not in repr(command)


def test_a_password_in_the_url_is_taken_out_of_it(server: PostgresServer) -> None:
    config = PostgresSource(kind="postgres", url="postgresql://app:hunter2@10.0.0.1:5433/db")
    assert PostgresDatabase("d", config, local_ports()).location() == (
        "postgresql://app@10.0.0.1:5433/db"
    )
    with pytest.raises(PolicyError) as raised:
        PostgresDatabase(
            "d", PostgresSource(kind="postgres", url="postgresql://app:hunter2@[/db"), local_ports()
        )
    assert "hunter2" not in raised.value.diagnostics()


def test_a_database_dropped_in_the_middle_of_a_dump(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(
        server,
        database,
        "CREATE TABLE a (t text)",
        "CREATE TABLE b (t text)",
        "INSERT INTO a SELECT repeat(md5(i::text), 30) FROM generate_series(1, 8000) AS i",
        "INSERT INTO b SELECT * FROM a",
    )
    source = driver(server, database)
    with (
        pytest.raises(VaultError, match="pg_dump ended with exit code 1") as raised,
        source.capture(tmp_path) as captured,
    ):
        assert isinstance(captured, StreamCapture)
        next(captured.chunks)
        execute(server, "postgres", f"DROP DATABASE {database} WITH (FORCE)")
        for _ in captured.chunks:
            pass
    assert "terminat" in raised.value.cause
    with pytest.raises(UnavailableError, match="does not exist"):
        source.observe()


def test_a_dump_that_is_not_read_ends_with_its_capture(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(
        server,
        database,
        "CREATE TABLE a AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 4000) AS i",
    )
    with driver(server, database).capture(tmp_path):
        pass
    execute(server, "postgres", f"DROP DATABASE {database}")


# ---- bad input ----------------------------------------------------------------------------------


def test_a_wrong_password_is_unavailable_and_not_told(
    server: PostgresServer, database: str
) -> None:
    source = driver(server, database, ports=ports_with("wrong-password"))
    with pytest.raises(UnavailableError, match="password authentication failed") as raised:
        source.observe()
    assert "wrong-password" not in raised.value.diagnostics()


def test_a_role_without_rights_is_unavailable(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, "CREATE TABLE t ()", "CREATE ROLE poor LOGIN PASSWORD 'x'")
    config = PostgresSource(
        kind="postgres",
        url=server.url(database, role="poor"),
        password=parse_secret_ref("env:DATABASE_PASSWORD"),
        binaries=server.programs,
    )
    with pytest.raises(UnavailableError, match="permission denied") as raised:
        capture(PostgresDatabase("documents", config, ports_with("x")), tmp_path)
    assert "pg_read_all_data" in raised.value.next_step


def test_an_older_pg_dump_is_refused(server: PostgresServer, database: str, tmp_path: Path) -> None:
    source = driver(server, database, binaries=postgres_programs(16))
    with pytest.raises(UnavailableError, match=r"only version 16\.\d+, too old for PostgreSQL 18"):
        capture(source, tmp_path)


def test_missing_programs_are_unavailable(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, "CREATE TABLE t ()")
    restored, recorded = capture(driver(server, database), tmp_path)
    source = driver(server, database, binaries=tmp_path / "nowhere")
    with pytest.raises(UnavailableError, match="there is none in"):
        capture(source, tmp_path)
    with pytest.raises(UnavailableError), source.open_restored(restored, tmp_path):
        pass
    (check,) = source.check(restored, recorded)
    assert check.verdict is Verdict.UNPROVEN


def test_an_empty_database_is_unproven(server: PostgresServer, database: str) -> None:
    observation = driver(server, database).observe()
    assert [(found.name, found.severity) for found in observation.findings] == [
        ("no-tables", "unproven")
    ]


def test_a_damaged_archive_is_found(server: PostgresServer, database: str, tmp_path: Path) -> None:
    execute(server, database, *PASSAGES)
    source = driver(server, database)
    restored, recorded = capture(source, tmp_path)
    whole = (restored / "database.tar").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:700], b"", b"x" * 10_000):
        (restored / "database.tar").write_bytes(damaged)
        assert [check.verdict for check in source.check(restored, recorded)] == [Verdict.FAILED]
    with pytest.raises(IntegrityError), source.open_restored(restored, tmp_path):
        pass


# ---- drills -------------------------------------------------------------------------------------


def test_a_drill_brings_up_owners_grants_policies_and_searches(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(
        server,
        database,
        *PASSAGES,
        'CREATE ROLE "the ""owner"""',
        "CREATE ROLE reader",
        'ALTER TABLE passages OWNER TO "the ""owner"""',
        "GRANT SELECT ON passages TO reader",
        "ALTER TABLE passages ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON passages TO reader USING (true)",
        "CREATE TABLE cosine (id text PRIMARY KEY, v halfvec(2))",
        "INSERT INTO cosine VALUES ('far', '[1,0]'), ('b', '[0,9]'), ('a', '[0,1]'), ('n', NULL)",
        "CREATE INDEX ON cosine USING hnsw (v halfvec_cosine_ops)",
        "CREATE TABLE inner_product (id int PRIMARY KEY, v vector)",
        "INSERT INTO inner_product VALUES (1, '[1,1]'), (2, '[5,5]'), (3, '[2,2]')",
        "ALTER TABLE inner_product ALTER v TYPE vector(2)",
        "CREATE INDEX ON inner_product USING hnsw (v vector_ip_ops)",
    )
    source = driver(server, database)
    restored, recorded = capture(source, tmp_path)
    assert recorded.details["roles"] == ["reader", 'the "owner"']
    with source.open_restored(restored, tmp_path) as store:
        assert store.describe() == recorded.collections
        assert store.search("passages.embedding", (49.9, 0.0, 1.0), 3) == ("49", "50", "51")
        assert store.search("passages", (49.9, 0.0, 1.0), 1) == ("49",)
        assert store.search("cosine.v", (0.0, 0.5), 3) == ("a", "b", "far")
        assert store.search("public.inner_product.v", (1.0, 1.0), 2) == ("2", "3")
        with pytest.raises(UnavailableError, match="0 vector columns"):
            store.search("passages.body", (1.0,), 1)
        with pytest.raises(UnavailableError, match="different vector dimensions"):
            store.search("passages.embedding", (1.0,), 1)


def test_the_server_of_a_drill_has_neither_rights_nor_our_environment(tmp_path: Path) -> None:
    from llmvault.sources.postgres.cluster import private_cluster
    from llmvault.sources.postgres.programs import find_programs

    ports = local_ports({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "RESTIC_PASSWORD": "hunter2"})
    programs = find_programs(ports.runner, postgres_programs(), program="postgres")
    with private_cluster(programs, tmp_path, ports.runner, ports.clock) as cluster:
        with psycopg.connect(cluster.address("postgres").conninfo()) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            assert row is not None
            data = Path(row[0])
        process = Path("/proc") / (data / "postmaster.pid").read_text().split()[0]
        status = dict(
            line.split(":\t", 1) for line in (process / "status").read_text().splitlines()
        )
        assert status["Uid"].split()[0] != "0"
        assert status["CapEff"] == "0000000000000000"
        assert status["NoNewPrivs"] == "1"
        assert b"hunter2" not in (process / "environ").read_bytes()


def test_only_the_named_vectors_are_spoken_of(server: PostgresServer, database: str) -> None:
    execute(server, database, *PASSAGES, "ALTER TABLE passages ADD other vector(2)")
    named = driver(server, database, vector_tables=("passages.embedding", "public.gone.v"))
    observation = named.observe()
    assert [facts.name for facts in observation.collections] == ["passages", "passages.embedding"]
    assert [(found.name, found.path, found.severity) for found in observation.findings] == [
        ("vectors-missing", "public.gone.v", "failed")
    ]


def test_a_killed_drill_leaves_no_server_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.contract.source import local_ports\n"
        "from llmvault.sources.postgres.cluster import private_cluster\n"
        "from llmvault.sources.postgres.programs import find_programs\n"
        "ports = local_ports()\n"
        "programs = find_programs(ports.runner, Path(sys.argv[1]), program='postgres')\n"
        "with private_cluster(programs, Path(sys.argv[2]), ports.runner, ports.clock) as cluster:\n"
        "    print(cluster.socket, flush=True)\n"
        "    time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", code, str(postgres_programs()), str(scratch)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        socket = Path(process.stdout.readline().strip())
        home = socket.parent
        postmaster = int((home / "data" / "postmaster.pid").read_text().split()[0])
        process.kill()
    give_up = time.monotonic() + 20
    while Path(f"/proc/{postmaster}").exists():
        assert time.monotonic() < give_up, "the server outlives its drill"
        time.sleep(0.05)
    assert home.exists()
    from llmvault.sources.postgres.cluster import _Account, _home

    ports = local_ports()
    with _home(scratch, _Account.for_server(ports.runner)) as again:
        assert again != home
        assert not home.exists()
    assert not again.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
def test_a_cluster_lies_below_a_scratch_that_its_account_can_reach(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, "CREATE TABLE t ()")
    source = driver(server, database)
    restored, _ = capture(source, tmp_path)
    scratch = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="llmvault-test-"))
    try:
        scratch.chmod(0o711)
        deep = scratch / ("long" * 25)  # too long for a socket's path
        deep.mkdir(mode=0o711)
        with source.open_restored(restored, deep):
            (home,) = deep.iterdir()
            assert (home / "data").stat().st_mode & 0o777 == 0o700
            assert (home / "data").stat().st_uid != 0
        assert not list(deep.iterdir())
    finally:
        shutil.rmtree(scratch)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
def test_programs_below_a_closed_directory_are_copied_out(tmp_path: Path) -> None:
    from llmvault.sources.postgres.cluster import private_cluster
    from llmvault.sources.postgres.programs import find_programs

    installed = postgres_programs().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(postgres_programs().parent, closed / "pg" / "install")
    shutil.copytree(
        installed.with_name(f"{installed.name}.libs"), closed / f"{installed.name}.libs"
    )
    ports = local_ports()
    programs = find_programs(ports.runner, closed / "pg" / "install" / "bin", program="postgres")
    with (
        private_cluster(programs, tmp_path, ports.runner, ports.clock) as cluster,
        psycopg.connect(cluster.address("postgres").conninfo()) as connection,
    ):
        connection.execute("CREATE EXTENSION vector")
    assert closed.stat().st_mode & 0o777 == 0o700


# ---- loading ------------------------------------------------------------------------------------


def with_password(server: PostgresServer, url: str) -> str:
    return url.replace("postgres@", f"postgres:{server.password.replace(' ', '%20')}@")


def test_loading_into_a_fresh_database(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, *PASSAGES)
    source = driver(server, database)
    restored, recorded = capture(source, tmp_path)
    fresh = with_password(server, server.create(f"fresh{database}"))
    assert source.load(restored, fresh) == recorded.collections
    for occupied in (fresh, with_password(server, server.url(database))):
        with pytest.raises(RefusedError, match="not empty: it has relation passages"):
            source.load(restored, occupied)


@pytest.mark.parametrize(
    "occupant",
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA s",
        "SELECT lo_create(0)",
    ],
)
def test_whatever_a_target_holds_makes_it_refused(
    server: PostgresServer, database: str, tmp_path: Path, occupant: LiteralString
) -> None:
    execute(server, database, occupant)
    with pytest.raises(RefusedError, match="not empty"):
        driver(server, database).load(tmp_path, with_password(server, server.url(database)))


def test_a_load_that_fails_leaves_the_target_empty(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(server, database, *PASSAGES, "CREATE TABLE zebra AS SELECT 1 AS stripes")
    source = driver(server, database)
    restored, recorded = capture(source, tmp_path)
    archive = restored / "database.tar"
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"passage 99\t", b"passage\t99\t"))
    fresh = with_password(server, server.create(f"fresh{database}"))
    with pytest.raises(IntegrityError, match="pg_restore fails"):
        source.load(restored, fresh)
    archive.write_bytes(whole)
    assert source.load(restored, fresh) == recorded.collections


def test_a_role_that_is_no_superuser_may_load_what_it_will_own(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    execute(
        server,
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE ROLE loader LOGIN PASSWORD 'pw'",
        "CREATE DATABASE loaded OWNER loader",
    )
    source = driver(server, database)
    restored, recorded = capture(source, tmp_path)
    url = server.url("loaded", role="loader").replace("loader@", "loader:pw@")
    assert source.load(restored, url) == recorded.collections


def test_a_target_that_is_not_there_is_unavailable(server: PostgresServer, tmp_path: Path) -> None:
    source = driver(server, "postgres")
    for url in (server.url("nowhere"), f"postgresql://postgres@127.0.0.1:{free_port()}/x"):
        with pytest.raises(UnavailableError):
            source.load(tmp_path, with_password(server, url))
