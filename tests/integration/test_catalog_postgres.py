"""The catalog on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from llmvault.catalog.model import RunEntry
from llmvault.catalog.session import Catalog, open_catalog
from llmvault.core.errors import UnavailableError
from tests.fakes.fleet import Host, Moved
from tests.fakes.migrations import down_and_up
from tests.fakes.policy_files import write_policy
from tests.servers import PostgresServer, postgres_server
from tests.unit.catalog.test_session import DRILL, POINT, RESTORE, fleet_is_told

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def url_of(server: PostgresServer, database: str) -> str:
    server.create(database)
    return server.url(database).replace(
        "postgresql://postgres@", f"postgresql+psycopg://postgres:{server.password}@"
    )


def test_it_is_made_from_nothing_and_keeps_everything(server: PostgresServer) -> None:
    url = url_of(server, "first")
    catalog = open_catalog(url)
    catalog.add_point(POINT)
    catalog.add_drill(DRILL)
    catalog.add_restore(RESTORE)
    catalog.close()
    again = open_catalog(url)
    assert (again.points(), again.drills(), again.restores()) == ((POINT,), (DRILL,), (RESTORE,))
    again.close()


def test_many_may_open_and_write_at_once(server: PostgresServer) -> None:
    url = url_of(server, "busy")

    def work(number: int) -> None:
        catalog = open_catalog(url)
        for turn in range(5):
            catalog.add_point(replace(POINT, id=f"rp-{number}-{turn}"))
        catalog.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    catalog = open_catalog(url)
    assert len(catalog.points("nightly")) == 30
    catalog.close()


def test_a_wrong_password_is_unavailable_and_not_told(server: PostgresServer) -> None:
    url = url_of(server, "closed").replace(server.password, "sesame")
    with pytest.raises(UnavailableError) as raised:
        open_catalog(url)
    assert "sesame" not in raised.value.diagnostics()


def test_every_migration_goes_down_and_up_again(server: PostgresServer) -> None:
    catalog = open_catalog(url_of(server, "stepwise"))
    down_and_up(catalog.engine)
    catalog.add_point(POINT)
    assert catalog.points() == (POINT,)
    catalog.close()


def test_of_a_fleet_the_newest_of_each_host_is_told(server: PostgresServer) -> None:
    catalog = open_catalog(url_of(server, "told"))
    fleet_is_told(catalog)
    catalog.close()


def test_one_host_of_a_group_holds_its_lease(server: PostgresServer) -> None:
    url = url_of(server, "leased")
    first, second = open_catalog(url), open_catalog(url)
    mine, theirs, other = first.lease("*a"), second.lease("*a"), second.lease("*b")
    assert (mine.held(), theirs.held(), mine.held()) == (True, False, True)
    assert other.held(), "each group has a lease of its own"
    mine.release()
    assert (theirs.held(), mine.held()) == (True, False)
    with first.engine.connect() as connection:  # as when the server goes away under its holder
        others = "from pg_stat_activity where pid != pg_backend_pid()"
        connection.execute(text(f"select pg_terminate_backend(pid) {others}"))
    assert not theirs.held(), "a lost connection is a lost lease"
    assert mine.held()
    for lease in (mine, theirs, other):
        lease.release()
    for catalog in (first, second):
        catalog.close()


def test_schedulers_that_start_together_never_double_a_run(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = url_of(server, "fleet")
    policy = write_policy(
        tmp_path / "policy",
        {
            "policy.yaml": """
            version: 1
            repositories: {primary: {url: "s3:https://store.example.org/b", password: "env:P"}}
            sources: {configs: {kind: configs, path: /s}}
            plans: {nightly: {sources: [configs], repositories: [primary]}}
            jobs: {verification: {kind: verification, every: 1m}}
            """
        },
    )
    clock = Moved()
    catalogs = [open_catalog(url) for _ in range(4)]
    hosts = [
        Host(f"gpu-{number}", tmp_path / f"gpu-{number}", policy, clock, partial(_same, catalog))
        for number, catalog in enumerate(catalogs)
    ]
    daemons = [host.start() for host in hosts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(15):
            list(pool.map(lambda daemon: daemon.tick(), daemons))
            clock.at += timedelta(minutes=1)
    done = [run.scheduled for host in hosts for run, _ in host.ran]
    assert len(done) == len(set(done)) == 14
    leaders = {host.name for host in hosts if host.ran}
    assert len(leaders) == 1, "one of them holds the lease"
    leader = next(index for index, host in enumerate(hosts) if host.ran)
    daemons[leader].leave()
    others = [daemon for index, daemon in enumerate(daemons) if index != leader]
    for daemon in others:
        daemon.tick()
    taken_over = [run.scheduled for host in hosts for run, _ in host.ran]
    assert len(taken_over) == len(set(taken_over)) == 15
    for daemon in daemons:
        daemon.leave()
    for catalog in catalogs:
        catalog.close()


def _same(catalog: Catalog) -> Catalog:
    return catalog


def test_the_catalog_itself_refuses_a_second_claim(server: PostgresServer) -> None:
    url = url_of(server, "claims")
    catalogs = [open_catalog(url) for _ in range(6)]
    begun = POINT.started
    run = RunEntry(
        "*a/job/1", "job", "locks", "*a", "gpu-1", begun, begun, None, 1, "running", 0, ""
    )  # fmt: skip

    def claim(number: int) -> bool:
        entry = replace(run, host=f"gpu-{number}")
        return catalogs[number].claim_run(entry, None)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(claim, range(6))) == 1
    catalogs[0].put_run(replace(run, outcome="died"))

    def again(number: int) -> bool:
        return catalogs[number].claim_run(replace(run, host=f"gpu-{number}", attempt=2), 1)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(again, range(6))) == 1
    for catalog in catalogs:
        catalog.close()
