"""A ZFS dataset from the command line, on our fake ``zfs``: chained, kept whole, lost, received."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.deployment import Deployment
from tests.system.history import decisions
from tests.zfs_pools import POOL, FakePool, fake_pool

pytestmark = pytest.mark.system

DATASET = f"{POOL}/data"
POLICY = f"""
sources:
  tank: {{kind: zfs_stream, dataset: {DATASET}}}
plans:
  nightly: {{sources: [tank, configs], drill: {{engines: [], goldens: []}}}}
retention:
  standard:
    basis: the newest
    keep: {{last: 1}}
    minimum: 1
"""


@pytest.fixture
def pool(tmp_path: Path) -> FakePool:
    pool = fake_pool(tmp_path)
    pool.create(DATASET, encrypted=True)
    return pool


def test_a_chain_is_kept_whole_and_received_after_the_dataset_was_lost(
    fresh: Deployment, pool: FakePool, tmp_path: Path
) -> None:
    fresh.override(POLICY)
    points = []
    for content in ("one", "two"):
        pool.write(DATASET, content)
        done = fresh.run("backup", "--json", more=pool.environment)
        assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
        points.append(done.document["recovery_point"])

    plan = fresh.run("retention", "plan", "--json", more=pool.environment)
    assert plan.exit_code == 0, plan
    found = {one["id"]: one for one in decisions(plan)}
    assert {one["action"] for one in found.values()} == {"keep"}
    (needed,) = found[points[0]]["reasons"]
    assert (needed["rule"], needed["text"]) == ("needed", f"{points[1]} stays and builds on it")

    pool.zfs("release", "-r", "llmvault", f"{DATASET}@llmvault-stream-{points[1]}")
    pool.zfs("destroy", "-r", DATASET)
    target = tmp_path / "back"
    into = ("--into", f"tank=zfs:{POOL}/again")
    restored = fresh.run(
        "restore", "latest", "--target", str(target), *into, "--json", more=pool.environment
    )
    assert (restored.exit_code, restored.document["verdict"]) == (0, "proven"), restored
    assert pool.read(f"{POOL}/again") == "two"
    again = fresh.run(
        "restore", "latest", "--target", f"{target}2", *into, "--json",
        more=pool.environment,
    )  # fmt: skip
    assert again.exit_code == 4, again
    assert "nothing is ever overwritten" in again.error["cause"]
