"""One step of the records measurement, in a process of its own, so that its memory can be told.

    python -m benchmarks.records_work STEP KIND ADDRESS DIRECTORY

Steps: ``loop`` (the store's own client reads every point), ``copy`` (SQLite's online backup),
``export`` (a records capture into DIRECTORY), ``import`` (a fresh private store of the capture).
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.core.secrets import SecretResolver, parse_secret_ref
from llmvault.policy.sources import ChromaSource, LancedbSource, PostgresSource, SqliteSource
from llmvault.sources.interface import ImportsRecords, Source, SourcePorts
from llmvault.sources.records.load import import_capture
from llmvault.sources.records.reading import read_capture
from llmvault.sources.registry import build_source


def source(kind: str, address: str, keep: Path | None) -> Source:
    """Return the driver of a store that is captured as records."""
    runner = LocalRunner(os.environ)
    ports = SourcePorts(runner, SecretResolver(os.environ, runner), SystemClock(), keep)
    config: ChromaSource | LancedbSource | PostgresSource | SqliteSource
    if kind == "sqlite":
        config = SqliteSource(kind="sqlite", path=Path(address), capture="records")
    elif kind == "lancedb":
        config = LancedbSource(kind="lancedb", path=Path(address), capture="records")
    elif kind == "chroma":
        config = ChromaSource(kind="chroma", path=Path(address), capture="records")
    else:
        config = PostgresSource(
            kind="postgres",
            url=address,
            password=parse_secret_ref("env:PGPASSWORD"),
            binaries=Path(os.environ["POSTGRES_PROGRAMS"]),
            capture="records",
        )
    return build_source("store", config, ports)


def loop_postgres(address: str) -> int:
    """Read every row with psycopg, vectors as numbers."""
    import psycopg

    count = 0
    with psycopg.connect(address) as connection, connection.cursor("all") as cursor:
        cursor.itersize = 2_000
        cursor.execute("SELECT id, document, author, embedding::text FROM points ORDER BY id")
        for row in cursor:
            json.loads(row[3])
            count += 1
    return count


def loop_chroma(address: str) -> int:
    """Read every record with chromadb."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    collection = chromadb.PersistentClient(address, settings=settings).get_collection(
        "points", embedding_function=None
    )
    count = 0
    columns = cast("Any", ["embeddings", "documents", "metadatas"])
    while page := collection.get(limit=1_000, offset=count, include=columns)["ids"]:
        count += len(page)
    return count


def loop_sqlite(address: str) -> int:
    """Read every row with apsw."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    rows = connection.execute("SELECT id, embedding, document, author FROM points ORDER BY id")
    return sum(1 for _ in rows)


def loop_lancedb(address: str) -> int:
    """Read every row with lancedb, as Python's values."""
    import lancedb

    table = lancedb.connect(address).open_table("points")
    return sum(len(batch.to_pylist()) for batch in table.search().to_batches(batch_size=1_000))


def copy_sqlite(address: str, target: Path) -> int:
    """Copy the file by SQLite's online backup."""
    with closing(sqlite3.connect(address)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    return 0


def export(kind: str, address: str, directory: Path) -> int:
    """Make a records capture, with the segments of the last one in `directory`."""
    with tempfile.TemporaryDirectory(dir=directory) as staging:
        driver = source(kind, address, directory)
        with driver.capture(Path(staging)) as capture:
            assert capture.observation is not None
            assert not capture.observation.findings, capture.observation.findings
            return sum(facts.count for facts in capture.observation.collections)


def bring_in(kind: str, address: str, directory: Path) -> int:
    """Make a private store of the capture."""
    driver = cast(ImportsRecords, source(kind, address, None))
    collections = read_capture(directory / "store")
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as scratch,
        driver.private_target(Path(scratch)) as target,
    ):
        imported = import_capture(target, collections)
        return sum(target.count(name) for name in imported.names.values())


LOOPS: dict[str, Callable[[str], int]] = {
    "chroma": loop_chroma,
    "lancedb": loop_lancedb,
    "postgres": loop_postgres,
    "sqlite": loop_sqlite,
}


def main() -> None:
    """Run the step and print how many points it saw."""
    step, kind, address, directory = sys.argv[1:]
    place = Path(directory)
    steps: dict[str, Callable[[], int]] = {
        "loop": lambda: LOOPS[kind](address),
        "copy": lambda: copy_sqlite(address, place),
        "export": lambda: export(kind, address, place),
        "import": lambda: bring_in(kind, address, place),
    }
    print(steps[step]())


if __name__ == "__main__":
    main()
