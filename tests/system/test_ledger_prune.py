"""Old entries of the ledger go by policy, approval, and with what is held in mind."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmvault.keys.store import KeyFiles
from llmvault.ledger.writer import TileLedger
from tests.fakes.stepping_clock import SteppingClock
from tests.system.deployment import Deployment
from tests.system.history import History, make_history

pytestmark = pytest.mark.system

PRUNE = """
    ledger:
      witnesses: {{share: {{kind: directory, path: {witness}}}}}
      prune: {{keep: 7y, basis: the example's policy, approval: retention}}
"""


@pytest.fixture
def old(small: Deployment, tmp_path: Path) -> History:
    """A deployment whose ledger begins with 600 entries of ten years ago."""
    deployment = small.copy(tmp_path / "base")
    keys = KeyFiles(deployment.state / "keys")
    origin = keys.make("tests/llmvault/old").name
    long_ago = datetime.now(UTC).replace(year=datetime.now(UTC).year - 10, day=1)
    ledger = TileLedger(
        deployment.state / "ledger",
        keys.signing_key,
        keys.verifiers,
        SteppingClock(long_ago),
        "tests",
    )
    ledger.begin(origin)
    ledger.append_all(
        [("backup.finished", {"recovery_point": f"rp-{n}", "plan": "old"}) for n in range(600)]
    )
    assert deployment.run("init").exit_code == 0
    made = make_history(deployment, count=2)
    (deployment.base / "witness").mkdir()
    deployment.override(PRUNE.format(witness=deployment.base / "witness"), "prune")
    return made


def test_entries_go_by_policy_and_approval(old: History) -> None:
    assert old.run("ledger", "checkpoint").exit_code == 0

    plan = old.run("ledger", "prune", "plan", "--request")
    assert plan.exit_code == 0, plan
    digest = plan.document["digest"]
    assert (plan.document["plan"]["minimum"], plan.document["requested"]) == (512, True)
    early = old.run("ledger", "prune", "apply", digest)
    assert early.exit_code == 4, early
    assert "0 of 1 have approved" in early.error["cause"]
    assert old.approve(digest).exit_code == 0

    done = old.run("ledger", "prune", "apply", digest)
    assert done.exit_code == 0, done
    assert (done.document["files"], done.document["approved_by"]) == (2, ["ada"])
    assert old.kinds()[-2:] == ["ledger.pruning", "ledger.pruned"]
    verified = old.run("ledger", "verify")
    assert (verified.exit_code, verified.document["verdict"]) == (0, "proven"), verified
    assert "those before 512 are pruned" in verified.named("checks", "entries")["detail"]
    shown = old.run("ledger", "show", "--from", "0")
    assert shown.document["entries"][0]["index"] == 512
    proof = old.run("ledger", "prove", "3")
    assert (proof.exit_code, proof.document["entry"]) == (0, None)
    assert old.run("ledger", "prune", "plan").document["plan"] is None


def test_a_pruned_ledger_comes_back_as_it_was(old: History) -> None:
    assert old.run("ledger", "checkpoint").exit_code == 0
    digest = old.run("ledger", "prune", "plan", "--request").document["digest"]
    assert old.approve(digest).exit_code == 0
    assert old.run("ledger", "prune", "apply", digest).exit_code == 0
    before = old.run("ledger", "show", "--from", "0").document["entries"]
    for place in (old.state, old.deployment.policies):
        shutil.rmtree(place)
    made = old.deployment
    where = (
        "--repository",
        str(made.repository),
        "--password",
        f"file:{made.base}/secrets/password",
    )
    pinned = ("--pinned", str(made.base / "witness"))
    back = old.run("init", "--recover", *where, *pinned)
    assert (back.exit_code, back.document["verdict"]) == (0, "proven"), back
    assert "those before 512 are pruned" in back.named("checks", "entries")["detail"]
    shown = old.run("ledger", "show", "--from", "0").document["entries"]
    assert shown[: len(before)] == before
    assert [one["index"] for one in (before[0], before[-1])] == [512, before[-1]["index"]]
    assert old.run("ledger", "verify").exit_code == 0
    assert old.run("ledger", "prove", "3").exit_code == 0


def test_a_hold_placed_after_the_plan_stops_it(old: History) -> None:
    assert old.run("ledger", "checkpoint").exit_code == 0
    digest = old.run("ledger", "prune", "plan", "--request").document["digest"]
    assert old.approve(digest).exit_code == 0
    with old.catalog() as catalog:
        points = [point.id for point in catalog.points()]
    assert points
    day = datetime.now(UTC).replace(year=datetime.now(UTC).year - 10, day=1).date().isoformat()
    held = old.run(
        *("hold", "add", "--logs", f"{day}..{day}", "--matter", "case 7", "--why", "a dispute")
    )
    assert held.exit_code == 0, held
    refused = old.run("ledger", "prune", "apply", digest)
    assert refused.exit_code == 4, refused
    assert "is held: " in refused.error["cause"]
    assert old.run("ledger", "show", "--from", "0").document["entries"][0]["index"] == 0


def test_without_a_policy_nothing_goes(old: History) -> None:
    (old.deployment.policies / "overrides.d/prune.yaml").unlink()
    refused = old.run("ledger", "prune", "plan")
    assert refused.exit_code == 2
    assert refused.error["thing"] == "ledger.prune"
