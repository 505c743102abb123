"""Planning retention over a history of 10,000 snapshots."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import median, run
from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.catalog.session import open_catalog
from tests.fakes.quick_repository import PASSWORD, write_quick_repository
from tests.fakes.snapshots import point_id, point_snapshots, write_snapshots

if TYPE_CHECKING:
    from benchmarks.run import Bench

SNAPSHOTS = 10_000
SOURCES = ("model", "configs", "database")
POLICY = """\
version: 1
repositories:
  bench: {{url: {base}/repository, password: "file:{base}/password"}}
sources:
  model: {{kind: model_dir, path: {base}/model}}
  configs: {{kind: configs, path: {base}/configs}}
  database: {{kind: model_dir, path: {base}/database}}
plans:
  nightly: {{sources: [model, configs, database], repositories: [bench]}}
retention:
  standard:
    basis: what is measured
    keep: {{within: 7d, hourly: 48, daily: 30, weekly: 12, monthly: 24, yearly: 7}}
"""


def make_history(base: Path) -> dict[str, str]:
    """Write a repository, a catalog and a policy; return llmvault's environment for them."""
    write_quick_repository(base / "repository")
    (base / "password").write_text(PASSWORD)
    (base / "password").chmod(0o600)
    (base / "policies").mkdir()
    (base / "policies" / "policy.yaml").write_text(POLICY.format(base=base))
    state = base / "state"
    state.mkdir(mode=0o700)
    newest = datetime.now(UTC) - timedelta(hours=1)
    catalog = open_catalog(f"sqlite:///{state}/catalog.sqlite")
    raw = []
    count = SNAPSHOTS // (len(SOURCES) + 1)
    for number in range(count):
        time = newest - timedelta(hours=6 * number)
        identity = point_id(time, number)
        raw.extend(point_snapshots(identity, time, plan="nightly", sources=SOURCES))
        catalog.add_point(_entry(identity, time))
        if number % 28 == 0:
            catalog.add_drill(_drill(identity, time))
    write_snapshots(base / "repository", raw)
    catalog.close()
    return {
        "LLMVAULT_POLICIES": str(base / "policies"),
        "LLMVAULT_STATE": str(state),
        "LLMVAULT_HOST": "tests",
    }


def _entry(identity: str, time: datetime) -> PointEntry:
    return PointEntry(
        id=identity,
        plan="nightly",
        host="tests",
        started=time,
        finished=time,
        verdict="proven",
        files=10,
        bytes=1 << 30,
        sources=tuple(
            {
                "name": name,
                "kind": "model_dir",
                "verdict": "proven",
                "reason": "",
                "files": 3,
                "bytes": 1 << 28,
                "snapshots": {"bench": "0" * 64},
            }
            for name in SOURCES
        ),
    )


def _drill(identity: str, time: datetime) -> DrillEntry:
    return DrillEntry(
        id=f"drill-{identity}",
        plan="nightly",
        recovery_point=identity,
        started=time + timedelta(hours=1),
        verdict="proven",
        rto_objective_s=900.0,
        rto_measured_s=60.0,
        rpo_objective_s=86400.0,
        rpo_measured_s=60.0,
        phases={"total": 60.0},
        report="",
    )


def retention(bench: Bench) -> None:
    """Measure a plan over 10,000 snapshots: time with restic's listing, and Python's memory."""
    base = Path(tempfile.mkdtemp(prefix="retention-", dir=bench.base))
    env = make_history(base)
    samples = [
        run(["llmvault", "retention", "plan", "--json"], env=env) for _ in range(bench.rounds + 1)
    ][1:]
    bench.fact(
        f"retention plan over {SNAPSHOTS:,} snapshots, restic's listing included",
        f"{median(samples, 'wall'):.2f} s",
        "< 2 s",
    )
    bench.fact(
        "the same: processor time of llmvault and restic together",
        f"{median(samples, 'cpu'):.2f} s",
        "",
    )
    bench.fact(
        "the same: peak memory of the Python process",
        f"{max(sample.peak_mib for sample in samples):.0f} MiB",
        "< 300 MiB",
    )
    shutil.rmtree(base)
