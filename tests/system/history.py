"""A deployment with a history of recovery points, and people with keys who approve."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.catalog.session import Catalog, open_catalog
from llmvault.ledger.files import LedgerFiles
from tests.fakes.forked import run_forked
from tests.fakes.snapshots import point_id, point_snapshots, write_snapshots
from tests.system.deployment import Completed, Deployment

RULES = """
    retention:
      standard:
        basis: the example's policy, section 1
        keep: {last: 2, monthly: 2}
        wait_for_lock: 2s
    people:
      ada: {roles: [owner], keys: ["ADA"]}
      bert: {roles: [operator], keys: ["BERT"]}
      carl: {roles: [owner], keys: ["CARL"], accounts: [nobody-here]}
    approvals:
      retention: {approvers: 1, roles: [owner], valid_for: 1d}
      hold-release: {approvers: 2, valid_for: 1d}
"""
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
PEOPLE = ("ada", "bert", "carl")


@dataclass(frozen=True)
class History:
    """A deployment whose recovery points are known.

    Attributes:
        points: ids, the oldest first.
    """

    deployment: Deployment
    points: tuple[str, ...]

    def copy(self, base: Path) -> History:
        """Return an independent copy of everything, in a new folder."""
        return History(self.deployment.copy(base), self.points)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.deployment.state

    def run(self, *arguments: str) -> Completed:
        """Run a command line with ``--json``, in a fork: there are hundreds of them."""
        told = (*arguments, "--json")
        return Completed(told, *run_forked(told, self.deployment.variables()))

    def key(self, person: str) -> Path:
        """Return a person's private key."""
        return self.deployment.base / "keys" / person

    def approve(self, digest: str, person: str = "ada") -> Completed:
        """Let a person approve."""
        return self.run("approve", digest, "--key", str(self.key(person)))

    def request(self, *more: str) -> str:
        """Ask for a plan, and return its digest."""
        done = self.run("retention", "plan", "--request", *more)
        assert done.exit_code == 0, done
        assert done.document["requested"], done
        return str(done.document["digest"])

    def approved(self, *more: str) -> str:
        """Ask for a plan, let it be approved, and return its digest."""
        digest = self.request(*more)
        assert self.approve(digest).exit_code == 0
        return digest

    def actions(self) -> dict[str, str]:
        """Return recovery point -> what a plan says of it now."""
        done = self.run("retention", "plan")
        assert done.exit_code == 0, done
        return {point["id"]: point["action"] for point in decisions(done)}

    def left(self) -> set[str]:
        """Return the recovery points of which the repository has a snapshot."""
        raw = json.loads(self.deployment.restic("snapshots", "--json", "--no-lock").stdout)
        tags = [tag for one in raw for tag in one.get("tags", ())]
        key = "llmvault:recovery-point="
        return {tag.removeprefix(key) for tag in tags if tag.startswith(key)}

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """Open the catalog."""
        catalog = open_catalog(f"sqlite:///{self.state}/catalog.sqlite")
        yield catalog
        catalog.close()

    def drilled(self, point: str, verdict: str = "proven") -> None:
        """Enter a drill of a recovery point."""
        now = datetime.now(UTC)
        entry = DrillEntry(
            id=f"drill-{point}-{verdict}",
            plan="nightly",
            recovery_point=point,
            started=now,
            verdict=verdict,
            rto_objective_s=900.0,
            rto_measured_s=1.0,
            rpo_objective_s=900.0,
            rpo_measured_s=1.0,
            phases={},
            report="",
        )
        with self.catalog() as catalog:
            catalog.add_drill(entry)

    def add_point(self, time: datetime, *, number: int = 9, verdict: str = "proven") -> str:
        """Write one more recovery point into repository and catalog."""
        identity = point_id(time, number)
        raw = point_snapshots(identity, time, tree=self.tree())
        ids = write_snapshots(self.deployment.repository, raw)
        with self.catalog() as catalog:
            catalog.add_point(entry(identity, time, ids, verdict))
        return identity

    def tree(self) -> str:
        """Return a tree that is in the repository."""
        raw = json.loads(self.deployment.restic("snapshots", "--json", "--no-lock").stdout)
        return str(raw[0]["tree"])

    def ledger(self) -> list[dict[str, Any]]:
        """Return what the ledger has."""
        return [json.loads(entry.data) for entry in LedgerFiles(self.state / "ledger").entries()]

    def kinds(self) -> list[str]:
        """Return the kinds of the ledger's entries."""
        return [entry["kind"] for entry in self.ledger()]


def decisions(done: Completed) -> list[dict[str, Any]]:
    """Return the decisions of a plan's document."""
    return [
        point
        for kept in done.document["plan"]["classes"]
        for repository in kept["repositories"]
        for point in repository["recovery_points"]
    ]


def entry(identity: str, time: datetime, ids: Sequence[str], verdict: str) -> PointEntry:
    """Return how the catalog lists a recovery point of two sources."""
    named = zip(("model", "configs"), ("model_dir", "configs"), ids, strict=False)
    return PointEntry(
        id=identity,
        plan="nightly",
        host="tests",
        started=time,
        finished=time,
        verdict=verdict,
        files=1,
        bytes=1,
        sources=tuple(
            {
                "name": name,
                "kind": kind,
                "verdict": verdict,
                "reason": "",
                "files": 1,
                "bytes": 1,
                "snapshots": {"primary": one},
            }
            for name, kind, one in named
        ),
    )


def make_history(deployment: Deployment, *, count: int = 6, rules: str = RULES) -> History:
    """Give a deployment daily recovery points, the newest of today, and people with keys."""
    add_people(deployment, rules)
    data = deployment.base / "live" / "config"
    taken = deployment.restic("backup", "--json", "--host", "tests", "--tag", "theirs", str(data))
    assert taken.returncode == 0, taken.stderr
    history = History(deployment, ())
    newest = min(NOON, datetime.now(UTC) - timedelta(hours=1))
    points = [
        history.add_point(newest - timedelta(days=day), number=day)
        for day in reversed(range(count))
    ]
    return History(deployment, tuple(points))


def add_people(deployment: Deployment, rules: str) -> None:
    """Make a key for each person, and declare them with the rules."""
    keys = deployment.base / "keys"
    keys.mkdir()
    for person in PEOPLE:
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            person,
            "-f",
            str(keys / person),
        ]
        subprocess.run(argv, check=True)
        rules = rules.replace(person.upper(), (keys / f"{person}.pub").read_text().strip())
    deployment.override(rules)


def add_bulk(history: History, size: int, time: datetime) -> str:
    """Add a recovery point that alone holds some random bytes; return its id."""
    identity = point_id(time, 77)
    big = history.deployment.base / "bulk"
    big.write_bytes(os.urandom(size))
    common = ("--tag", "llmvault:plan=nightly", "--tag", f"llmvault:recovery-point={identity}")
    when = ("--host", "tests", "--time", f"{time:%Y-%m-%d %H:%M:%S}")
    for path, tag in ((big, "llmvault:source=model"), (big, "llmvault:manifest")):
        done = history.deployment.restic("backup", *common, *when, "--tag", tag, str(path))
        assert done.returncode == 0, done.stderr
    return identity
