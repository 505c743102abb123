"""The ledger from the command line: what was done is in it, and can be proven."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from tests.system.deployment import Completed, Deployment


def proven(done: Completed) -> Completed:
    """Return what a command did, which must have exit code 0."""
    assert done.exit_code == 0, str(done)
    return done


def entries(point: Deployment) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = proven(point.run("ledger", "show", "--json")).document[
        "entries"
    ]
    return listed


def test_backups_restores_and_drills_are_in_the_ledger(point: Deployment, tmp_path: Path) -> None:
    proven(point.run("restore", "latest", "--target", str(tmp_path / "out"), "--json"))
    drill = proven(point.run("drill", "--json"))
    point.run("restore", "rp-20000101T000000Z-000000", "--target", str(tmp_path / "no"), "--json")
    found = entries(point)
    kinds = [one["kind"] for one in found]
    for noun in ("backup", "restore", "drill"):
        started, ended = kinds.index(f"{noun}.started"), kinds.index(f"{noun}.finished")
        assert started < ended
        facts = found[ended]["facts"]
        assert isinstance(facts, dict)
        assert facts["verdict"] == "proven"
    last = found[kinds.index("drill.finished")]["facts"]
    assert isinstance(last, dict)
    assert last["drill"] == drill.document["drill"]
    assert last["rto_s"] == drill.document["rto"]["measured_s"]


def test_a_killed_drill_leaves_its_beginning(point: Deployment) -> None:
    before = len(entries(point))
    process = point.start("drill")
    while process.poll() is None and not any((point.state / "scratch").glob("llmvault-*")):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    point.wait_until_still()
    kinds = [one["kind"] for one in entries(point)[before:]]
    assert kinds == ["policy.changed", "drill.started"], "its paths are others than when copied"
    proven(point.run("drill", "--json"))
    verified = point.run("ledger", "verify", "--json")
    assert {c["name"]: c["verdict"] for c in verified.document["checks"]} == {
        "checkpoint": "proven",
        "entries": "proven",
        "tiles": "proven",
        "pinned": "proven",
    }


def test_a_ledger_that_was_put_back_is_found(point: Deployment, tmp_path: Path) -> None:
    newest = proven(point.run("ledger", "checkpoint", "--json")).document
    kept = tmp_path / "kept"
    kept.write_text(newest["checkpoint"])
    good = proven(point.run("ledger", "verify", "--pinned", str(kept), "--json"))
    assert good.document["verdict"] == "proven"
    proof = tmp_path / "one.tlog-proof"
    proven(point.run("ledger", "prove", "0", "--output", str(proof), "--json"))
    assert proof.read_text().startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
    assert point.run("ledger", "prove", "100000", "--json").exit_code == 2

    status = proven(point.run("keys", "status", "--json")).document
    assert [one["signs"] for one in status["keys"]] == [True]
    rotated = proven(point.run("keys", "rotate", "--json")).document
    assert rotated["before"] == status["keys"][0]["key"]
    assert point.run("ledger", "verify", "--pinned", str(kept), "--json").exit_code == 0

    bundle = next((point.state / "ledger/tile/entries/000.p").iterdir())
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b"proven", b"failed", 1))
    bad = point.run("ledger", "verify", "--pinned", str(kept), "--json")
    assert (bad.exit_code, bad.document["verdict"]) == (1, "failed")
    bundle.write_bytes(whole)


def test_before_init_there_is_none(fresh: Deployment) -> None:
    shutil.rmtree(fresh.state / "ledger", ignore_errors=True)
    refused = fresh.run("ledger", "verify", "--json")
    assert refused.exit_code == 5
    assert refused.error["next_step"] == "run: llmvault init"
