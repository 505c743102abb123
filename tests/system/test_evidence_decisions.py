"""Evidence of what people decide and what was attacked: from real entries to the bundle."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from llmvault.evidence.archive import unpack
from tests.stores import Store
from tests.system.deployment import Completed, Deployment
from tests.system.history import make_history

pytestmark = pytest.mark.system

LOCKED = """
    repositories:
      primary: {{verification: {{parts: 1}}}}
      locked:
        url: s3:{endpoint}/evidence/standard
        password: "file:../../secrets/password"
        retention_class: immutable
        environment: {{AWS_ACCESS_KEY_ID: env:STORE_ID, AWS_SECRET_ACCESS_KEY: env:STORE_KEY}}
        object_store:
          tls_only: false
          lock: {{mode: compliance, period: 2d}}
          maintenance: {{access_key: env:STORE_ID, secret_key: env:STORE_KEY}}
"""


def proven(done: Completed) -> Completed:
    """Return what a command did, which must have exit code 0."""
    assert done.exit_code == 0, done
    return done


def test_decisions_attacks_and_readings_are_in_the_bundle(
    small: Deployment, moto: Store, tmp_path: Path
) -> None:
    made = small.copy(tmp_path / "base")
    history = make_history(made, count=4)
    made.override(LOCKED.format(endpoint=moto.endpoint), "locked")
    keys = {"STORE_ID": moto.keys.access, "STORE_KEY": moto.keys.secret}

    def run(*arguments: str) -> Completed:
        return made.run(*arguments, "--json", more=keys)

    proven(run("init"))
    held = proven(
        run(
            "hold", "add", "--recovery-point", history.points[0], "--matter", "case-7", "--why", "w"
        )
    ).document["id"]
    plan = proven(run("retention", "plan", "--request")).document
    proven(run("approve", plan["digest"], "--key", str(history.key("ada"))))
    applied = proven(run("retention", "apply", plan["digest"])).document
    gone = {one["recovery_point"] for one in applied["deleted"]}
    assert gone
    tampered = run("tamper").document
    proven(run("verify", "primary"))

    exported = run("evidence", "export", "--output", str(tmp_path / "e.zip"))
    assert exported.exit_code in (1, 3), "nothing was drilled in the period: never green"
    verified = run("evidence", "verify", str(tmp_path / "e.zip"),
                   "--key", exported.document["public_key"])  # fmt: skip
    assert proven(verified).document["verdict"] == "proven"

    files = unpack((tmp_path / "e.zip").read_bytes())
    evidence = json.loads(files["evidence.json"])
    told = {kind: sum(counts.values()) for kind, counts in evidence["statements"].items()}
    for kind in ("retention", "hold", "approval", "tamper", "verification", "coverage"):
        assert told[kind] >= 1, (kind, told)
    assert evidence["statements"]["retention"]["proven"] == 1
    assert evidence["statements"]["hold"]["proven"] == 1
    assert evidence["statements"]["tamper"][tampered["verdict"]] == 1
    assert evidence["statements"]["verification"]["proven"] == 1

    rows = list(csv.DictReader(io.StringIO(files["csv/deletions.csv"].decode())))
    assert {row["recovery_point"] for row in rows} == gone
    for row in rows:
        assert "no rule keeps it" in row["why"]
    page = files["report.html"].decode()
    deleted = page[page.index("What was deleted, and why") :]
    for point in gone:
        assert point in deleted
    assert held in files["csv/statements.csv"].decode()
