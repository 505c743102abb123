"""The catalog on SQLite: made from nothing, times in UTC, several writers, damage."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event
from sqlmodel import SQLModel

from llmvault.catalog import session
from llmvault.catalog.model import DrillEntry, HostEntry, PointEntry, RestoreEntry, RunEntry
from llmvault.catalog.session import Catalog, open_catalog
from llmvault.core.errors import IntegrityError, UnavailableError
from tests.fakes.manifests import FINISHED, STARTED
from tests.fakes.migrations import down_and_up, go

ROOT = Path(__file__).parents[3]
POINT = PointEntry(
    id="rp-1",
    plan="nightly",
    host="gpu-1",
    started=STARTED,
    finished=FINISHED,
    verdict="proven",
    files=3,
    bytes=5 << 40,
    sources=({"name": "models", "snapshots": {"primary": "s1"}},),
)
DRILL = DrillEntry(
    id="drill-1",
    plan="nightly",
    recovery_point="rp-1",
    started=STARTED,
    verdict="unproven",
    rto_objective_s=900.0,
    rto_measured_s=None,
    rpo_objective_s=86_400.0,
    rpo_measured_s=12.5,
    phases={"fetch": 1.5},
    report="/r.html",
)
RESTORE = RestoreEntry("restore-1", "rp-1", STARTED, "/t", "failed", ({"name": "models"},))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "made" / "state" / "catalog.sqlite"


@pytest.fixture
def catalog(place: Path) -> Iterator[Catalog]:
    opened = open_catalog(f"sqlite:///{place}")
    yield opened
    opened.close()


def test_it_is_made_from_nothing_and_private(place: Path, catalog: Catalog) -> None:
    assert (catalog.points(), catalog.drills(), catalog.restores()) == ((), (), ())
    modes = {
        stat.S_IMODE(path.stat().st_mode) & 0o077
        for path in (*place.parent.iterdir(), place.parent, place.parent.parent)
    }
    assert modes == {0}


def test_entries_read_back(catalog: Catalog) -> None:
    catalog.add_point(POINT)
    catalog.add_drill(DRILL)
    catalog.add_restore(RESTORE)
    assert (catalog.points(), catalog.drills(), catalog.restores()) == (
        (POINT,),
        (DRILL,),
        (RESTORE,),
    )


def test_entering_again_replaces(catalog: Catalog) -> None:
    for verdict in ("unproven", "proven"):
        catalog.add_point(replace(POINT, verdict=verdict))
        catalog.add_drill(replace(DRILL, verdict=verdict))
        catalog.add_restore(replace(RESTORE, verdict=verdict))
    assert [point.verdict for point in catalog.points()] == ["proven"]
    assert [drill.verdict for drill in catalog.drills()] == ["proven"]
    assert [restore.verdict for restore in catalog.restores()] == ["proven"]


def test_the_newest_comes_first_and_plans_are_told_apart(catalog: Catalog) -> None:
    for number, plan in enumerate(["nightly", "weekly", "nightly"]):
        later = STARTED + timedelta(days=number)
        catalog.add_point(replace(POINT, id=f"rp-{number}", plan=plan, started=later))
        catalog.add_drill(replace(DRILL, id=f"drill-{number}", plan=plan, started=later))
    assert [point.id for point in catalog.points()] == ["rp-2", "rp-1", "rp-0"]
    assert [point.id for point in catalog.points("nightly")] == ["rp-2", "rp-0"]
    assert [drill.id for drill in catalog.drills("weekly")] == ["drill-1"]


def fleet_is_told(catalog: Catalog) -> None:
    """Enter two hosts' points and drills; what tells how they stand must be the newest of each."""
    promise = {"nightly": {"rpo_s": 60.0}}
    seen = HostEntry(
        "gpu-1", STARTED, STARTED, 60.0, "0.1.0", "d", promise, {"a": {}}, ({"kind": "x"},) * 3
    )
    day = timedelta(days=1)
    for name in ("gpu-2", "gpu-1"):
        catalog.put_host(replace(seen, name=name))
        for number, verdict in enumerate(["proven", "proven", "unproven", "proven"]):
            at, this = STARTED + number * day, f"{name}-{number}"
            point = replace(POINT, id=this, host=name, started=at, verdict=verdict)
            catalog.add_point(point)
            catalog.add_drill(replace(DRILL, id=this, host=name, started=at, verdict=verdict))
    catalog.add_drill(
        replace(DRILL, id="d", host="gpu-2", started=STARTED + 9 * day, verdict="failed")
    )
    fleet = catalog.fleet(STARTED + 2 * day)
    assert [host.name for host in fleet.hosts] == ["gpu-1", "gpu-2"]
    assert (fleet.hosts[0].seen, fleet.hosts[0].findings) == (STARTED, 3)
    assert fleet.hosts[0].plans == promise
    assert {(one.host, one.verdict, one.started) for one in fleet.points} == {
        (name, "proven", STARTED + day) for name in ("gpu-1", "gpu-2")
    }, "the last one began later than what was asked for"
    assert {(one.host, one.verdict) for one in fleet.drills} == {
        ("gpu-1", "proven"),
        ("gpu-2", "failed"),
    }


def test_of_a_fleet_the_newest_of_each_host_is_told(catalog: Catalog) -> None:
    fleet_is_told(catalog)


def test_times_of_another_zone_come_back_in_utc(catalog: Catalog) -> None:
    there = STARTED.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    catalog.add_point(replace(POINT, started=there))
    (point,) = catalog.points()
    assert point.started == STARTED
    assert point.started.utcoffset() == timedelta(0)


def test_it_is_still_there_when_opened_again(place: Path, catalog: Catalog) -> None:
    catalog.add_point(POINT)
    again = open_catalog(f"sqlite:///{place}")
    assert again.points() == (POINT,)
    again.close()


def test_the_migrations_make_the_tables_that_the_queries_expect(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_an_interrupted_migration_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session._engine

    def failing(url: str) -> object:
        engine = made(url)

        def interrupt(connection: object, cursor: object, statement: str, *_: object) -> None:
            if "CREATE TABLE restore" in statement:
                raise KeyboardInterrupt

        event.listen(engine, "before_cursor_execute", interrupt)
        return engine

    monkeypatch.setattr(session, "_engine", failing)
    with pytest.raises(KeyboardInterrupt):
        open_catalog(f"sqlite:///{place}")
    monkeypatch.undo()
    opened = open_catalog(f"sqlite:///{place}")
    opened.add_restore(RESTORE)
    opened.close()


def test_many_may_open_and_write_at_once(place: Path) -> None:
    def work(number: int) -> None:
        catalog = open_catalog(f"sqlite:///{place}")
        for turn in range(5):
            catalog.add_point(replace(POINT, id=f"rp-{number}-{turn}"))
        catalog.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    catalog = open_catalog(f"sqlite:///{place}")
    assert len(catalog.points()) == 30
    catalog.close()


def test_many_may_enter_the_same_point_at_once(place: Path, catalog: Catalog) -> None:
    together = Barrier(6)

    def work(number: int) -> None:
        mine = open_catalog(f"sqlite:///{place}")
        for turn in range(10):
            together.wait(60)
            mine.add_point(replace(POINT, id=f"rp-{turn}"))
        mine.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(catalog.points()) == 10


def test_processes_may_open_it_at_once(place: Path) -> None:
    program = (
        "import sys; from llmvault.catalog.session import open_catalog; open_catalog(sys.argv[1])"
    )
    argv = [sys.executable, "-c", program, f"sqlite:///{place}"]
    running = [subprocess.Popen(argv, cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]


def test_a_locked_database_is_unavailable(
    place: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.close()

    def impatient(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    event.listen(catalog.engine, "connect", impatient)
    holder = sqlite3.connect(place)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UnavailableError, match="database is locked") as raised:
        catalog.add_point(POINT)
    assert str(place) in raised.value.thing
    holder.rollback()
    holder.close()
    catalog.add_point(POINT)


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_damaged_database_says_what_to_do(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    with pytest.raises((IntegrityError, UnavailableError)) as raised:
        open_catalog(f"sqlite:///{place}")
    assert raised.value.next_step
    assert place.read_bytes() == content


def test_a_database_of_a_newer_llmvault_is_left_alone(place: Path, catalog: Catalog) -> None:
    with catalog.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(UnavailableError, match="another llmvault made it"):
        open_catalog(f"sqlite:///{place}")


def test_an_unreachable_server_is_unavailable_and_no_password_is_told() -> None:
    url = "postgresql+psycopg://vault:sesame@127.0.0.1:1/catalog"
    with pytest.raises(UnavailableError, match="catalog postgresql") as raised:
        open_catalog(url)
    assert "sesame" not in raised.value.diagnostics()


def test_every_migration_goes_down_and_up_again(catalog: Catalog) -> None:
    down_and_up(catalog.engine)
    catalog.add_point(POINT)
    assert catalog.points() == (POINT,)


def test_one_step_down_keeps_what_older_tables_hold(catalog: Catalog) -> None:
    catalog.add_point(POINT)
    catalog.add_drill(replace(DRILL, host="gpu-1"))
    go(catalog.engine, "0003", down=True)
    go(catalog.engine, "head", down=False)
    assert catalog.points() == (POINT,)
    assert catalog.drills() == (DRILL,), "which host drilled is forgotten, the drill is not"


def test_the_first_host_that_is_there_and_the_runs_of_a_period(catalog: Catalog) -> None:
    assert catalog.first_host(FINISHED, beats=5) is None
    silent = FINISHED - timedelta(hours=1)
    for name, seen in (("gpu-3", FINISHED), ("gpu-1", silent), ("gpu-2", FINISHED)):
        catalog.put_host(HostEntry(name, seen, seen, 60.0, "1", "d", {}, {}, ()))
    assert catalog.first_host(FINISHED, beats=5) == "gpu-2"
    assert catalog.first_host(silent, beats=5) == "gpu-1"
    for number in range(4):
        at = STARTED + number * timedelta(days=1)
        catalog.put_run(
            RunEntry(f"r{number}", "j", "backup", "o", "h", at, at, at, 1, "proven", 0, "")
        )
    period = (STARTED + timedelta(days=1), STARTED + timedelta(days=3))
    assert [run.id for run in catalog.runs_between(*period)] == ["r1", "r2"]
