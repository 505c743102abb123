"""``scripts/bench-records``: records captures against clients' own loops and native tools."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from benchmarks.measure import Sample, run
from tests.servers import PostgresServer, postgres_server

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

DIMENSION = 384
BATCH = 5_000
CHANGED = 100  # one point in so many


@dataclass
class Bench:
    """Where it works, how many points, and the rows of the result."""

    base: Path
    points: int
    with_import: bool = True
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def say(self, what: str, value: str, memory: str = "", target: str = "") -> None:
        """Keep a row."""
        self.rows.append((what, value, memory, target))
        print(what, value, memory, target, sep="  |  ", flush=True)

    def rate(self, what: str, sample: Sample, *, memory: bool = False) -> None:
        """Keep how many points a second something did."""
        told = f"{self.points / sample.wall:,.0f} points/s ({sample.wall:.1f} s)"
        peak = f"{sample.family_mib:.0f} MiB" if memory else ""
        self.say(what, told, peak, "< 500 MiB" if memory else "")


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Return random vectors."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, DIMENSION), dtype=np.float32)


def document(number: int) -> str:
    """Return a passage of about 200 characters that its number determines."""
    return " ".join(f"word{(number * 31 + place * 17) % 9973}" for place in range(25))


def work(step: str, kind: str, address: str, directory: Path, env: dict[str, str]) -> Sample:
    """Run a step in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.records_work", step, kind, address, str(directory)]
    return run(argv, env=env)


# ---- what a second capture adds --------------------------------------------------------------


def repository(bench: Bench, name: str) -> dict[str, str]:
    """Make a repository; return restic's environment."""
    env = {
        **os.environ,
        "RESTIC_REPOSITORY": str(bench.base / f"repository-{name}"),
        "RESTIC_PASSWORD": "only-for-measuring",
        "RESTIC_CACHE_DIR": str(bench.base / "cache"),
    }
    subprocess.run(["restic", "init", "-q"], env=env, check=True)
    return env


def added(env: dict[str, str], root: Path) -> int:
    """Back a directory up; return the bytes that the repository grew by."""
    done = subprocess.run(
        ["restic", "backup", "--json", "."], env=env, cwd=root, check=True, capture_output=True
    )
    return int(json.loads(done.stdout.splitlines()[-1])["data_added_packed"])


# ---- PostgreSQL ------------------------------------------------------------------------------


def part_postgres(bench: Bench) -> None:
    """Measure tables with pgvector against psycopg and pg_dump."""
    with postgres_server() as server:
        url = server.create("bench")
        address = url.replace("postgres@", f"postgres:{quote(server.password)}@")
        fill_postgres(server, bench.points)
        env = {"PGPASSWORD": server.password, "POSTGRES_PROGRAMS": str(server.programs)}
        place = bench.base / "postgres"
        place.mkdir()
        bench.rate("PostgreSQL: psycopg loop", work("loop", "postgres", address, place, env))
        dump = bench.base / "dump.tar"
        argv = [str(server.programs / "pg_dump"), "--format=tar", f"--file={dump}", url]
        bench.rate("PostgreSQL: pg_dump", run(argv, env=env))
        first = work("export", "postgres", url, place, env)
        bench.rate("PostgreSQL: records capture", first, memory=True)
        if bench.with_import:
            bring_back_postgres(bench, server, dump, place, env)
        restic = repository(bench, "postgres")
        whole = added(restic, place / "store")
        with server.connect("bench") as connection:
            connection.execute(
                "UPDATE points SET document = document || ' changed', "
                "embedding = embedding + embedding "
                f"WHERE (id * 7919) %% {bench.points} < {bench.points // CHANGED}".replace(
                    "%%", "%"
                )
            )
        again = work("export", "postgres", url, place, env)
        bench.rate("PostgreSQL: second capture, 1 % changed", again, memory=True)
        tell_added(bench, "PostgreSQL", whole, added(restic, place / "store"))


def bring_back_postgres(
    bench: Bench, server: PostgresServer, dump: Path, place: Path, env: dict[str, str]
) -> None:
    """Compare making a database of records with pg_restore."""
    target = server.create("restored")
    argv = [str(server.programs / "pg_restore"), f"--dbname={target}", str(dump)]
    bench.rate("PostgreSQL: pg_restore (no index on the vectors)", run(argv, env=env))
    dump.unlink()
    back = work("import", "postgres", server.url("bench"), place, env)
    bench.rate("PostgreSQL: import of records", back, memory=True)


def fill_postgres(server: PostgresServer, points: int) -> None:
    """Make the table."""
    import struct

    with server.connect("bench") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            f"CREATE TABLE points (id bigint PRIMARY KEY, document text, author text, "
            f"embedding vector({DIMENSION}))"
        )
        head = struct.pack(">HH", DIMENSION, 0)
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY points FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["int8", "text", "text", "bytea"])
            for start in range(0, points, BATCH):
                packed = vectors(min(BATCH, points - start), start).astype(">f4")
                for place, vector in enumerate(packed):
                    number = start + place
                    author = f"author {number % 5_000}"
                    copy.write_row((number, document(number), author, head + vector.tobytes()))


# ---- Chroma ----------------------------------------------------------------------------------


def part_chroma(bench: Bench) -> None:
    """Measure a Chroma directory against chromadb and a copy of it."""
    live = bench.base / "chroma-live"
    fill_chroma(live, bench.points)
    place = bench.base / "chroma"
    place.mkdir()
    bench.rate("Chroma: chromadb loop", work("loop", "chroma", str(live), place, {}))
    copied = run(["cp", "-a", str(live), str(bench.base / "chroma-copy")], env={})
    bench.rate("Chroma: copy of the directory, store stopped", copied)
    first = work("export", "chroma", str(live), place, {})
    bench.rate("Chroma: records capture", first, memory=True)
    restic = repository(bench, "chroma")
    whole = added(restic, place / "store")
    with opened_chroma(live) as collection:
        changed = [
            n for n in range(bench.points) if (n * 7919) % bench.points < bench.points // CHANGED
        ]
        for start in range(0, len(changed), BATCH):
            some = changed[start : start + BATCH]
            collection.update(
                ids=[f"p{number}" for number in some],
                embeddings=vectors(len(some), 1 + start).tolist(),
                documents=[document(number + 1) for number in some],
            )
    again = work("export", "chroma", str(live), place, {})
    bench.rate("Chroma: second capture, 1 % changed", again, memory=True)
    tell_added(bench, "Chroma", whole, added(restic, place / "store"))
    if bench.with_import:
        back = work("import", "chroma", str(live), place, {})
        bench.rate("Chroma: import of records", back, memory=True)


@contextmanager
def opened_chroma(path: Path) -> Iterator[Any]:
    """Open the collection."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    with cast("Any", chromadb.PersistentClient(str(path), settings=settings)) as client:
        yield client.get_or_create_collection("points", embedding_function=None)


def fill_chroma(path: Path, points: int) -> None:
    """Make the collection; indexing takes most of the time of this part."""
    with opened_chroma(path) as collection:
        for start in range(0, points, BATCH):
            numbers = range(start, min(points, start + BATCH))
            collection.add(
                ids=[f"p{number}" for number in numbers],
                embeddings=vectors(len(numbers), start).tolist(),
                documents=[document(number) for number in numbers],
                metadatas=[{"author": f"author {number % 5_000}"} for number in numbers],
            )


def tell_added(bench: Bench, store: str, whole: int, more: int) -> None:
    """Keep what the second capture added to the repository."""
    bench.say(
        f"{store}: bytes added by the second capture, 1 % of the points changed",
        f"{100 * more / whole:.2f} % ({more / 2**20:.1f} of {whole / 2**20:.0f} MiB)",
        target="<= 3 %",
    )


# ---- SQLite ----------------------------------------------------------------------------------


def part_sqlite(bench: Bench) -> None:
    """Measure a table of sqlite-vec against apsw and SQLite's online backup."""
    live = bench.base / "live.db"
    fill_sqlite(live, bench.points)
    place = bench.base / "sqlite"
    place.mkdir()
    bench.rate("SQLite: apsw loop", work("loop", "sqlite", str(live), place, {}))
    copied = work("copy", "sqlite", str(live), bench.base / "copy.db", {})
    bench.rate("SQLite: online backup", copied)
    (bench.base / "copy.db").unlink()
    first = work("export", "sqlite", str(live), place, {})
    bench.rate("SQLite: records capture", first, memory=True)
    restic = repository(bench, "sqlite")
    whole = added(restic, place / "store")
    with opened_sqlite(live) as connection, connection:
        for number in range(bench.points):
            if (number * 7919) % bench.points < bench.points // CHANGED:
                changed = vectors(1, bench.points + number).tobytes()
                connection.execute(
                    "UPDATE points SET embedding = ?, document = document || ' changed' "
                    "WHERE id = ?",
                    (changed, number),
                )
    again = work("export", "sqlite", str(live), place, {})
    bench.rate("SQLite: second capture, 1 % changed", again, memory=True)
    tell_added(bench, "SQLite", whole, added(restic, place / "store"))
    live.unlink()
    if bench.with_import:
        back = work("import", "sqlite", str(live), place, {})
        bench.rate("SQLite: import of records", back, memory=True)


@contextmanager
def opened_sqlite(path: Path) -> Iterator[Any]:
    """Open the file with sqlite-vec."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute("PRAGMA synchronous = OFF")
    yield connection
    connection.close()


def fill_sqlite(path: Path, points: int) -> None:
    """Make the table."""
    with opened_sqlite(path) as connection, connection:
        connection.execute(
            "CREATE VIRTUAL TABLE points USING vec0(id INTEGER PRIMARY KEY, "
            f"embedding float[{DIMENSION}], +document TEXT, +author TEXT)"
        )
        for start in range(0, points, BATCH):
            for place, vector in enumerate(vectors(min(BATCH, points - start), start)):
                number = start + place
                row = (number, vector.tobytes(), document(number), f"author {number % 5_000}")
                connection.execute("INSERT INTO points VALUES (?, ?, ?, ?)", row)


# ---- LanceDB ---------------------------------------------------------------------------------


def part_lancedb(bench: Bench) -> None:
    """Measure a table against lancedb's own scan and a copy of the directory."""
    live = bench.base / "lance"
    fill_lancedb(live, bench.points)
    place = bench.base / "lancedb"
    place.mkdir()
    bench.rate("LanceDB: scan into Python's values", work("loop", "lancedb", str(live), place, {}))
    copied = run(["cp", "-a", str(live), str(bench.base / "lance-copy")], env={})
    bench.rate("LanceDB: copy of the directory", copied)
    rmtree(bench.base / "lance-copy")
    first = work("export", "lancedb", str(live), place, {})
    bench.rate("LanceDB: records capture", first, memory=True)
    restic = repository(bench, "lancedb")
    whole = added(restic, place / "store")
    change_lancedb(live, bench.points)
    again = work("export", "lancedb", str(live), place, {})
    bench.rate("LanceDB: second capture, 1 % changed", again, memory=True)
    tell_added(bench, "LanceDB", whole, added(restic, place / "store"))
    rmtree(live)
    if bench.with_import:
        back = work("import", "lancedb", str(live), place, {})
        bench.rate("LanceDB: import of records", back, memory=True)


def lance_rows(numbers: Sequence[int], packed: NDArray[np.float32], more: str = "") -> pa.Table:
    """Return rows of the table."""
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(packed.reshape(-1)), DIMENSION)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "document": [document(number) + more for number in numbers],
            "author": [f"author {number % 5_000}" for number in numbers],
            "embedding": flat,
        }
    )


def fill_lancedb(path: Path, points: int) -> None:
    """Make the table."""
    import lancedb

    table = None
    connection = lancedb.connect(path)
    for start in range(0, points, BATCH * 10):
        numbers = range(start, min(points, start + BATCH * 10))
        rows = lance_rows(numbers, vectors(len(numbers), start))
        if table is None:
            table = connection.create_table("points", rows)
        else:
            table.add(rows)


def change_lancedb(path: Path, points: int) -> None:
    """Change one point in a hundred, spread evenly."""
    import lancedb

    numbers = [n for n in range(points) if (n * 7919) % points < points // CHANGED]
    table = lancedb.connect(path).open_table("points")
    rows = lance_rows(numbers, vectors(len(numbers), points + 1), " changed")
    table.merge_insert("id").when_matched_update_all().execute(rows)


PARTS: dict[str, Callable[[Bench], None]] = {
    "postgres": part_postgres,
    "sqlite": part_sqlite,
    "lancedb": part_lancedb,
    "chroma": part_chroma,
}


def report(bench: Bench, now: datetime) -> str:
    """Return the results as Markdown."""
    lines = [
        f"# Records captures, {now:%Y-%m-%d}",
        "",
        f"Made by `scripts/bench-records --points {bench.points}`: {bench.points:,} points of "
        f"{DIMENSION} dimensions with a passage of about 200 characters and an author; changed "
        "points are spread evenly. Rates from whole commands, imports of libraries included.",
        "",
        f"Python {platform.python_version()}; {platform.machine()}, {os.cpu_count()} cores.",
        "",
        "| measurement | result | peak memory, workers included | target |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in bench.rows),
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the parts and write the results."""
    parser = argparse.ArgumentParser(prog="scripts/bench-records")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--no-import", action="store_true", help="captures alone, in less time")
    parser.add_argument("--output", type=Path, help="default: docs/results/records-DATE.md")
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary one)")
    options = parser.parse_args()
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="llmvault-bench-", dir=options.directory) as base:
        bench = Bench(Path(base), options.points, not options.no_import)
        for part in options.parts:
            PARTS[part](bench)
    output = options.output or Path("docs/results") / f"records-{now:%Y-%m-%d}.md"
    output.write_text(report(bench, now))
    print(f"written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
