"""A real PostgreSQL with pgvector from the command line: back up, lose, drill, load elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import PostgresServer, postgres_server
from tests.system.deployment import Deployment

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def fill(server: PostgresServer, database: str) -> str:
    """Make a database with a table of vectors; return its URL."""
    url = server.create(database)
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY, body text, place vector(3))")
        connection.execute(
            "INSERT INTO notes SELECT n, 'note ' || n, ARRAY[n, n * 2, 1]::vector"
            " FROM generate_series(1, 50) AS n"
        )
    return url


def declare(deployment: Deployment, server: PostgresServer, url: str) -> None:
    """Let the plan protect the database too."""
    deployment.override(
        f"""
        sources:
          notes:
            kind: postgres
            url: {url}
            password: env:NOTES_PASSWORD
            binaries: {server.programs}
            vector_tables: [notes.place]
        plans: {{nightly: {{sources: [model, configs, notes]}}}}
        """
    )


def test_a_database_is_brought_back(fresh: Deployment, server: PostgresServer) -> None:
    declare(fresh, server, fill(server, "notes"))
    secret = {"NOTES_PASSWORD": server.password}
    backup = fresh.run("backup", "--json", more=secret)
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
    assert backup.named("sources", "notes")["files"] == 1
    with server.connect() as connection:
        connection.execute("DROP DATABASE notes")
    drill = fresh.run("drill", "--json", more=secret)
    assert (drill.exit_code, drill.document["verdict"]) == (0, "proven"), drill
    (records,) = [c for c in drill.document["checks"] if c["name"] == "records"]
    assert "16 sampled records identical" in records["detail"]
    target = server.create("brought_back")
    arguments = ("restore", "latest", "--target", str(fresh.base / "out"), "--source", "notes")
    access = {**secret, "PGPASSWORD": server.password}  # of the target, as for every libpq program
    loaded = fresh.run(*arguments, "--into", f"notes={target}", "--json", more=access)
    assert (loaded.exit_code, loaded.document["verdict"]) == (0, "proven"), loaded
    with server.connect("brought_back") as connection:
        row = connection.execute("SELECT body, place::text FROM notes WHERE id = 7").fetchone()
    assert row == ("note 7", "[7,14,1]")
    again = fresh.base / "again"
    twice = fresh.run(
        *(*arguments[:3], str(again), "--into", f"notes={target}", "--json"), more=access
    )
    assert twice.exit_code == 4, twice
    for done in (backup, drill, loaded, twice):
        assert server.password not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("database", "password", "cause"),
    [
        ("absent", "correct", 'database "absent" does not exist'),
        ("postgres", "wrong", "password authentication failed"),
    ],
)
def test_a_database_that_cannot_be_reached_is_unproven(
    fresh: Deployment, server: PostgresServer, database: str, password: str, cause: str
) -> None:
    declare(fresh, server, server.url(database))
    secret = server.password if password == "correct" else "wrong-secret"
    done = fresh.run("backup", "--json", more={"NOTES_PASSWORD": secret})
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    notes = done.named("sources", "notes")
    assert notes["verdict"] == "unproven"
    assert cause in notes["reason"]
    assert "next:" in notes["reason"]
    assert secret not in done.stdout + done.stderr
    assert done.named("sources", "model")["verdict"] == "proven"


def test_a_secret_that_is_not_set_touches_nothing(
    fresh: Deployment, server: PostgresServer
) -> None:
    declare(fresh, server, server.url("postgres"))
    done = fresh.run("backup", "--json")
    assert done.exit_code in (2, 3)
    assert "env:NOTES_PASSWORD" in done.stdout
