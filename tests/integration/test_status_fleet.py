"""``llmvault status`` on a catalog that several hosts share, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmvault.catalog.model import DrillEntry, HostEntry, PointEntry
from llmvault.catalog.session import open_catalog
from llmvault.core.units import format_time
from tests.servers import PostgresServer, postgres_server
from tests.system.deployment import Deployment, make_small

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return make_small(tmp_path_factory.mktemp("small") / "base")


def test_it_shows_the_other_hosts_and_which_is_silent(
    server: PostgresServer, deployment: Deployment, tmp_path: Path
) -> None:
    server.create("status")
    url = server.url("status").replace(
        "postgresql://postgres@", f"postgresql+psycopg://postgres:{server.password}@"
    )
    now = datetime.now(UTC)
    old = now - timedelta(days=3)
    promise = {"rpo_s": 86_400.0, "rto_s": 900.0, "sources": 2, "declared": format_time(old)}
    there = HostEntry(
        "gpu-2", now, old, 600.0, "0.1.0", "d" * 64, {"nightly": promise}, {}, ({"kind": "x"},)
    )
    catalog = open_catalog(url)
    catalog.put_host(there)
    catalog.put_host(replace(there, name="gpu-3", seen=old))
    catalog.put_host(replace(there, name="tests"))
    point = PointEntry("rp-2", "nightly", "gpu-2", now, now, "proven", 1, 1, ())
    catalog.add_point(point)
    catalog.add_point(replace(point, id="rp-3", host="gpu-3", started=old, finished=old))
    done = deployment.run("status", "--json", more={"LLMVAULT_DATABASE": url})
    hosts = {host["host"]: host for host in done.document["hosts"]}
    assert set(hosts) == {"gpu-2", "gpu-3"}, "this host's own plans are shown as ever"
    assert [hosts[name]["silent"] for name in ("gpu-2", "gpu-3")] == [False, True]
    (plan,) = hosts["gpu-2"]["plans"]
    assert plan["rpo"]["measured_s"] < 600
    assert (plan["verdict"], plan["drill"]) == ("unproven", None)
    assert hosts["gpu-3"]["verdict"] == "failed"
    assert (done.document["holds"], done.exit_code) == (0, 1)
    shown = deployment.run("status", more={"LLMVAULT_DATABASE": url}).stdout
    assert "gpu-3" in shown
    assert "(silent)" in shown
    for number in range(60):
        name = f"well-{number}"
        catalog.put_host(replace(there, name=name, findings=()))
        catalog.add_point(replace(point, id=name, host=name))
        catalog.add_drill(
            DrillEntry(
                name, "nightly", name, now, "proven", 900.0, 60.0, 86_400.0, 60.0, {}, "", name
            )
        )
    catalog.close()
    done = deployment.run("status", "--json", more={"LLMVAULT_DATABASE": url})
    assert len(done.document["hosts"]) == 62
    shown = deployment.run("status", more={"LLMVAULT_DATABASE": url}).stdout
    assert shown.index("gpu-3") < shown.index("gpu-2"), "the worst first"
    assert "not shown of 60 more hosts, which --json lists: 60 proven" in shown
