"""Records captures from the command line: lose one store, answer from another; hold writers."""

from __future__ import annotations

import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest

from tests.servers import PostgresServer, postgres_server
from tests.system.deployment import Deployment, chroma_client

pytestmark = pytest.mark.system

WAIT_SECONDS = 60
POINTS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def address_of(server: PostgresServer, database: str) -> str:
    """Return the URL of a new database, with its password."""
    return server.create(database).replace("postgres@", f"postgres:{quote(server.password)}@")


def vector_of(number: int) -> list[float]:
    return [number / 7, float(number % 5), -1.5]


def fill(store: Path) -> None:
    """Make a Chroma directory with one collection."""
    with chroma_client(store) as client:
        collection = client.create_collection(
            "passages",
            configuration={"hnsw": {"space": "l2", "max_neighbors": 12}},
            embedding_function=None,
        )
        collection.add(
            ids=[f"p{number:02}" for number in range(POINTS)],
            embeddings=cast("Any", [vector_of(number) for number in range(POINTS)]),
            documents=[f"passage {number}" for number in range(POINTS)],
            metadatas=[
                {"author": f"author {number % 3}", "page": number} for number in range(POINTS)
            ],
        )


def declare(deployment: Deployment, more: str = "") -> Path:
    """Let the plan protect a Chroma directory as records; return the directory."""
    store = deployment.live / "vectors"
    fill(store)
    deployment.override(
        f"""
        sources:
          vectors: {{kind: chroma, path: {store}, capture: records, subject_field: author}}
        plans:
          nightly:
            sources: [model, configs, vectors]
            {more}
        """
    )
    return store


def hook(place: Path, word: str) -> str:
    return f"[sh, -c, 'echo {word} >> \"$0\"', '{place}']"


def words(place: Path) -> list[str]:
    return place.read_text().split() if place.exists() else []


def packed(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_a_lost_chroma_store_answers_as_tables_and_comes_back(
    fresh: Deployment, server: PostgresServer
) -> None:
    log = fresh.base / "log"
    store = declare(
        fresh,
        f"""max_window: 10m
            quiesce:
              - name: ingest
                freeze: {hook(log, "freeze")}
                thaw: {hook(log, "thaw")}""",
    )
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
    assert words(log) == ["freeze", "thaw"]
    shown = fresh.run("recovery-points", "show", "latest", "--json").document["recovery_point"]
    assert {"quiesce", "window"} <= {check["name"] for check in shown["checks"]}
    unchanged = fresh.run("backup", "--json")
    assert unchanged.exit_code == 0, unchanged
    assert unchanged.named("sources", "vectors")["bytes_added"] < 20_000
    for path in sorted(store.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    store.rmdir()

    drill = fresh.run("drill", "--json")
    records = [c for c in drill.document["checks"] if c["source"] == "vectors"]
    assert {c["verdict"] for c in records} == {"proven"}, drill
    assert "16 sampled records identical" in next(
        c["detail"] for c in records if "identical" in c["detail"]
    )

    tables = address_of(server, "tables")
    one = ("restore", "latest", "--target", str(fresh.base / "one"), "--source", "vectors")
    loaded = fresh.run(*one, "--into", f"vectors=postgres:{tables}", "--json")
    assert (loaded.exit_code, loaded.document["verdict"]) == (0, "proven"), loaded
    assert server.password not in loaded.stdout + loaded.stderr
    with server.connect("tables") as connection:
        row = connection.execute(
            "SELECT document, payload->>'author', embedding::text FROM passages WHERE id = 'p07'"
        ).fetchone()
        (index,) = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'passages_embedding_idx'"
        ).fetchone() or ("",)
    assert row == ("passage 7", "author 1", "[1,2,-1.5]")
    assert "vector_l2_ops" in index
    assert "m='12'" in index

    two = ("restore", "latest", "--target", str(fresh.base / "two"), "--source", "vectors")
    twice = fresh.run(*two, "--into", f"vectors=postgres:{tables}", "--json")
    assert twice.exit_code == 4, twice
    assert "not empty" in twice.error["cause"]

    fresh.override(
        f"""
        sources:
          tables:
            kind: postgres
            url: {server.url("tables")}
            password: env:TABLES_PASSWORD
            binaries: {server.programs}
            capture: records
        plans: {{nightly: {{sources: [model, configs, tables]}}}}
        """
    )
    secret = {"TABLES_PASSWORD": server.password}
    again = fresh.run("backup", "--json", more=secret)
    assert (again.exit_code, again.document["verdict"]) == (0, "proven"), again
    three = ("restore", "latest", "--target", str(fresh.base / "three"), "--source", "tables")
    back = fresh.run(*three, "--into", f"tables=chroma:{store}", "--json", more=secret)
    assert (back.exit_code, back.document["verdict"]) == (0, "proven"), back
    with chroma_client(store) as client:
        collection = client.get_collection("passages", embedding_function=None)
        found = collection.get(
            ids=["p07"], include=cast("Any", ["embeddings", "documents", "metadatas"])
        )
        hnsw = cast("Any", collection.configuration_json)["hnsw"]
        assert collection.count() == POINTS
    assert packed([float(v) for v in cast("Any", found["embeddings"])[0]]) == packed(vector_of(7))
    assert (found["documents"], found["metadatas"]) == (
        ["passage 7"],
        [{"author": "author 1", "page": 7}],
    )
    assert (hnsw["space"], hnsw["max_neighbors"]) == ("l2", 12)


def test_a_capture_of_another_time_is_read_whatever_the_policy_says_now(fresh: Deployment) -> None:
    store = declare(fresh)
    assert fresh.run("backup", "--json").exit_code == 0
    fresh.override(
        f"""
        sources:
          vectors: {{kind: chroma, path: {store}}}
        plans: {{nightly: {{sources: [model, configs, vectors]}}}}
        """
    )
    new = fresh.base / "new"
    target = ("restore", "latest", "--target", str(fresh.base / "one"))
    done = fresh.run(*target, "--into", f"vectors={new}", "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    native = fresh.run("backup", "--json")
    assert native.exit_code == 0, native
    other = ("restore", "latest", "--target", str(fresh.base / "two"))
    refused = fresh.run(*other, "--into", "vectors=postgres:dbname=x", "--json")
    assert refused.exit_code == 2, refused
    assert "capture: records" in refused.error["next_step"]
    assert not (fresh.base / "two").exists()


def test_a_store_that_holds_nothing_is_unproven(fresh: Deployment) -> None:
    store = declare(fresh)
    with chroma_client(store) as client:
        collection = client.get_collection("passages", embedding_function=None)
        collection.delete(ids=[f"p{number:02}" for number in range(POINTS)])
    done = fresh.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven"), done
    assert "holds no record" in done.named("sources", "vectors")["reason"]


@contextmanager
def tiny(place: Path) -> Iterator[None]:
    """Mount a file system of 64 KiB."""
    place.mkdir(parents=True)
    options = ["-o", "size=64k,mode=700"]
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_during_the_export_is_told_and_leaves_nothing(fresh: Deployment) -> None:
    store = declare(fresh)
    with chroma_client(store) as client:
        collection = client.get_collection("passages", embedding_function=None)
        for number in range(40):
            collection.add(
                ids=[f"large {number}"],
                embeddings=cast("Any", [vector_of(number)]),
                documents=["x" * 10_000 + str(number)],
            )
    kept = fresh.state / "records"
    with tiny(kept):
        done = fresh.run("backup", "--json")
        assert (done.exit_code, done.document["verdict"]) == (3, "unproven"), done
        assert "No space left" in done.named("sources", "vectors")["reason"]
        assert not list(kept.rglob("*.parquet"))
    assert done.named("sources", "configs")["verdict"] == "proven"
    assert fresh.run("backup", "--json").exit_code == 0


def test_sources_too_far_apart_are_unproven(fresh: Deployment) -> None:
    declare(fresh, "max_window: 0.001s")
    done = fresh.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven"), done
    assert done.named("sources", "vectors")["verdict"] == "proven"
    shown = fresh.run("recovery-points", "show", "latest", "--json").document["recovery_point"]
    (check,) = [check for check in shown["checks"] if check["name"] == "window"]
    assert check["verdict"] == "unproven"


@pytest.mark.parametrize(
    ("freeze", "cause"),
    [("[sh, -c, 'exit 7']", "exit code 7"), ("[sleep, '600']", "did not finish within 0.3 s")],
)
def test_a_hook_that_fails_or_hangs_leaves_the_point_unproven(
    freeze: str, cause: str, fresh: Deployment
) -> None:
    log = fresh.base / "log"
    fresh.override(
        f"""
        plans:
          nightly:
            quiesce:
              - {{name: ingest, freeze: {freeze}, freeze_timeout: 0.3s, thaw: {hook(log, "thaw")}}}
        """
    )
    done = fresh.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven"), done
    assert words(log) == ["thaw"]
    shown = fresh.run("recovery-points", "show", "latest", "--json").document["recovery_point"]
    (check,) = [check for check in shown["checks"] if check["name"] == "quiesce"]
    assert (check["verdict"], cause in check["detail"]) == ("unproven", True)
    fresh.wait_until_still()


def test_writers_are_set_free_when_the_backup_is_killed(fresh: Deployment) -> None:
    log = fresh.base / "log"
    fresh.override(
        f"""
        plans:
          nightly:
            quiesce:
              - {{name: one, freeze: {hook(log, "freeze")}, thaw: {hook(log, "thaw")}}}
              - {{name: two, freeze: [sleep, '600'], freeze_timeout: 10m, thaw: ["true"]}}
        """
    )
    process = fresh.start("backup")
    give_up = time.monotonic() + WAIT_SECONDS
    while words(log) != ["freeze"]:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_SECONDS)
    while words(log) != ["freeze", "thaw"]:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    fresh.wait_until_still()


def test_a_lost_chroma_store_comes_back_as_a_sqlite_file(fresh: Deployment) -> None:
    import apsw
    import sqlite_vec

    store = declare(fresh)
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
    for path in sorted(store.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    made = fresh.base / "made" / "passages.db"
    one = ("restore", "latest", "--target", str(fresh.base / "one"), "--source", "vectors")
    loaded = fresh.run(*one, "--into", f"vectors=sqlite:{made}", "--json")
    assert (loaded.exit_code, loaded.document["verdict"]) == (0, "proven"), loaded
    connection = apsw.Connection(str(made), flags=apsw.SQLITE_OPEN_READONLY)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    found = connection.execute(
        "SELECT id, document, json_extract(payload, '$.author') FROM passages "
        "WHERE embedding MATCH ? AND k = 1",
        (packed(vector_of(7)),),
    ).fetchall()
    connection.close()
    assert found == [("p07", "passage 7", "author 1")]
