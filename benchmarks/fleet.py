"""How long ``status`` takes with a large fleet in the catalog, in a real PostgreSQL.

Fills a catalog with 1,000 hosts of 50 sources each and 90 nightly recovery points of all of them,
weekly drills, and what each host last told; runs ``llmvault status``; writes docs/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.measure import compile_modules
from llmvault.catalog.session import open_catalog
from tests.servers import PostgresServer, postgres_server
from tests.system.deployment import Deployment, make_small

_POINT = (
    "copy recovery_point (id, plan, host, started, finished, verdict, files, bytes, sources)"
    " from stdin"
)
_DRILL = (
    "copy drill (id, plan, recovery_point, started, verdict, rto_objective_s, rto_measured_s,"
    " rpo_objective_s, rpo_measured_s, phases, report, host) from stdin"
)
_HOST = (
    "copy host (name, seen, started, heartbeat_s, version, policy_digest, plans, jobs, findings)"
    " from stdin"
)


def fill(server: PostgresServer, database: str, hosts: int, sources: int, days: int) -> None:
    """Write the rows of a fleet."""
    now = datetime.now(UTC).replace(tzinfo=None)
    listed = json.dumps(
        [
            {"name": f"source-{n}", "kind": "model_dir", "snapshots": {"primary": "a" * 64}}
            for n in range(sources)
        ]
    )

    def nights() -> Iterator[tuple[object, ...]]:
        for host in range(hosts):
            for day in range(days):
                at = now - timedelta(days=day, seconds=host)
                yield (
                    f"rp-{host}-{day}", "nightly", f"gpu-{host:04}", at,
                    at + timedelta(minutes=5), "proven", 1000, 1 << 40, listed,
                )  # fmt: skip

    def drills() -> Iterator[tuple[object, ...]]:
        for host in range(hosts):
            for week in range(days // 7):
                yield (
                    f"drill-{host}-{week}", "nightly", f"rp-{host}-{week * 7}",
                    now - timedelta(days=7 * week), "proven", 900.0, 300.0, 86_400.0, 60.0,
                    "{}", "/report.html", f"gpu-{host:04}",
                )  # fmt: skip

    promise = {"rpo_s": 172_800.0, "rto_s": 900.0, "sources": sources}
    declared = {**promise, "declared": "2026-01-01T00:00:00.000Z"}
    jobs = {f"job-{n}": {"kind": "backup", "owner": "x", "next": None} for n in range(8)}
    told = [
        (f"gpu-{host:04}", now, now, 60.0, "0.1.0", "d" * 64, json.dumps({"nightly": declared}),
         json.dumps(jobs), "[]")
        for host in range(hosts)
    ]  # fmt: skip
    with psycopg.connect(server.url(database), password=server.password) as connection:
        for statement, rows in ((_POINT, nights()), (_DRILL, drills()), (_HOST, iter(told))):
            with connection.cursor().copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze")


def measure(
    deployment: Deployment, url: str, rounds: int, *options: str
) -> tuple[list[float], str]:
    """Run ``status`` some times; return seconds of each, and what the last one printed."""
    seconds, printed = [], ""
    for _ in range(rounds):
        began = time.perf_counter()
        done = subprocess.run(
            deployment.command("status", *options),
            env=deployment.variables({"LLMVAULT_DATABASE": url}),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
        printed = done.stdout
    return seconds, printed


def used() -> float:
    """Return the processor seconds that this process's children have taken."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    """Fill, measure, write; return 0 when `status` takes less than two seconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hosts", type=int, default=1000)
    options.add_argument("--sources", type=int, default=50)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--output", type=Path)
    chosen = options.parse_args()
    compile_modules()
    with tempfile.TemporaryDirectory(prefix="llmvault-fleet-", dir="/var/tmp") as place:
        deployment = make_small(Path(place) / "base")
        with postgres_server() as server:
            server.create("fleet")
            url = server.url("fleet").replace(
                "postgresql://postgres@", f"postgresql+psycopg://postgres:{server.password}@"
            )
            open_catalog(url).close()
            fill(server, "fleet", chosen.hosts, chosen.sources, chosen.days)
            before, load = used(), os.getloadavg()[0]
            seconds, document = measure(deployment, url, chosen.rounds, "--json")
            taken = (used() - before) / chosen.rounds
            table, text = measure(deployment, url, chosen.rounds)
            load_after = os.getloadavg()[0]
    shown = len(json.loads(document)["hosts"])
    seen = {
        "hosts x sources x days": f"{chosen.hosts:,} x {chosen.sources} x {chosen.days}",
        "hosts in `--json`": shown,
        "`--json`: median, least, most, s": _three(seconds),
        "of which processor, s": round(taken, 2),
        "table for people: median, least, most, s": _three(table),
        "lines of that table": len(text.splitlines()),
        "processors; load average of the machine before and after": f"{os.cpu_count()}; "
        f"{load:.1f}, {load_after:.1f}",
    }
    slowest = max(map(statistics.median, (seconds, table)))
    holds = slowest < 2 and shown == chosen.hosts
    _write(chosen.output, seen)
    print(json.dumps({"holds": holds, **seen}, indent=2))
    return 0 if holds else 1


def _three(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f}, {min(seconds):.2f}, {max(seconds):.2f}"


def _write(output: Path | None, seen: dict[str, object]) -> None:
    today = datetime.now(UTC).date()
    path = output or Path(__file__).parents[1] / "docs/results" / f"fleet-{today}.md"
    rows = "\n".join(f"| {name} | {value} |" for name, value in seen.items())
    path.write_text(
        f"# `status` of a large fleet, {today}\n\n"
        "`scripts/bench-fleet`: the wall time of `llmvault status` as a whole process, its start\n"
        "included, with the fleet's recovery points, drills and hosts in a real PostgreSQL on\n"
        "the same machine.\n\n"
        f"| | seen |\n| --- | --- |\n{rows}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    raise SystemExit(main())
