"""Pruning: what may go, what stays, and that everything is still proven afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError
from llmvault.core.verdict import Verdict
from llmvault.keys.store import KeyFiles
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.merkle import consistency_proof, consistent, leaf_hash
from llmvault.ledger.model import Entry
from llmvault.ledger.prune import (
    Held,
    Limits,
    PrunePlan,
    apply_prune,
    plan_prune,
    prune_limits,
    read_plan,
)
from llmvault.ledger.verify import Pin, verify_ledger
from llmvault.ledger.writer import TileLedger
from tests.fakes.ledger import MemoryLedger
from tests.fakes.stepping_clock import SteppingClock
from tests.unit.ledger.conftest import open_at

OLD = datetime(2018, 1, 1, tzinfo=UTC)
CUT = datetime(2020, 1, 1, tzinfo=UTC)


def grown(place: Path, *, old: int = 700, young: int = 100) -> TileLedger:
    """Return a ledger with entries before and after the time of the cut."""
    ledger = open_at(place)
    ledger.clock = SteppingClock(OLD)
    ledger.append_all([("t.old", {"n": n}) for n in range(old)])
    ledger.clock = SteppingClock(CUT + timedelta(days=1))
    ledger.append_all([("t.young", {"n": n}) for n in range(young)])
    return ledger


def nobody(_: Entry) -> str:
    return ""


def pin(ledger: TileLedger) -> Pin:
    return Pin("elsewhere", ledger.files.checkpoint())


def limits(ledger: TileLedger, keys: KeyFiles, *pins: Pin, held: Held = nobody) -> Limits:
    return prune_limits(ledger.files, keys.verifiers(), pins, before=CUT, held=held)


def planned(files: LedgerFiles, found: Limits) -> PrunePlan:
    plan = plan_prune(files, found, keep="7y", basis="law")
    assert plan is not None
    return plan


def bundles(ledger: TileLedger) -> set[str]:
    folder = ledger.directory / "tile/entries"
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}


def test_old_entries_go_and_every_proof_stays(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path), KeyFiles(tmp_path / "keys")
    files, kept = ledger.files, pin(ledger)
    first = next(files.entries(0, 1)).data
    proof, early = files.prove(0), pin(ledger)
    found = limits(ledger, keys, kept)
    assert (found.by_age, found.by_pin, found.minimum) == (700, 800, 512)
    assert found.reason == "entry 700 is younger than the policy keeps"
    plan = planned(files, found)
    assert (plan.before, plan.minimum, plan.newest) == (0, 512, "2018-01-01T00:00:00.000Z")
    assert read_plan(plan.document) == plan

    assert apply_prune(files, ledger, plan, found, {"approved_by": ["ada"]}) == 2
    assert bundles(ledger) == {"002", "003.p"}
    assert files.minimum_index() == 512
    assert next(files.entries()).index == 512
    told = list(files.entries(800))
    assert [entry.kind for entry in told] == ["ledger.pruning", "ledger.pruned"]
    assert told[1].facts["files"] == 2
    assert told[0].facts["approved_by"] == ["ada"]

    checks = verify_ledger(files, keys.verifiers(), (early, pin(ledger)))
    assert {check.verdict for check in checks} == {Verdict.PROVEN}
    assert "those before 512 are pruned" in checks[1].detail
    assert proof.shows(leaf_hash(first))
    assert files.prove(0).shows(leaf_hash(first))  # who kept the entry can still prove it
    head, tree = files.checkpoint().head, files.tree(files.checkpoint().head)
    path = consistency_proof(tree, 300, head.size)
    assert consistent(300, head.size, _root(files, 300), head.root, path)

    assert plan_prune(files, limits(ledger, keys, pin(ledger)), keep="7y", basis="law") is None
    ledger.append("t.e", {})
    assert verify_ledger(files, keys.verifiers(), (early,))[1].verdict is Verdict.PROVEN


def _root(files: LedgerFiles, size: int) -> bytes:
    from llmvault.ledger.merkle import tree_root

    return tree_root(files.tree(files.checkpoint().head), size)


def test_nothing_goes_that_no_pin_covers(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path, old=300), KeyFiles(tmp_path / "keys")
    early = pin(ledger)
    ledger.clock = SteppingClock(OLD)
    ledger.append_all([("t.old", {"n": n}) for n in range(300)])
    unpinned = limits(ledger, keys)
    assert (unpinned.minimum, "kept outside" in unpinned.reason) == (0, True)
    assert plan_prune(ledger.files, unpinned, keep="7y", basis="law") is None
    assert limits(ledger, keys, early).minimum == 256  # by age: a younger one stands before them


def test_what_is_held_stays_and_all_after_it(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path), KeyFiles(tmp_path / "keys")

    def held(entry: Entry) -> str:
        return "hold-1 on source model" if entry.facts["n"] == 300 else ""

    found = limits(ledger, keys, pin(ledger), held=held)
    assert (found.by_hold, found.minimum) == (300, 256)
    assert found.reason == "entry 300 is held: hold-1 on source model"
    free = limits(ledger, keys, pin(ledger))
    plan = planned(ledger.files, free)
    with pytest.raises(RefusedError, match="entry 300 is held"):  # placed after the plan was made
        apply_prune(ledger.files, ledger, plan, found, {})
    assert ledger.files.minimum_index() == 0


def test_a_plan_that_no_longer_fits_is_refused(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path), KeyFiles(tmp_path / "keys")
    found = limits(ledger, keys, pin(ledger))
    plan = planned(ledger.files, found)
    for other in (
        replace(plan, root="00" * 32),
        replace(plan, origin="other"),
        replace(plan, before=256),
        replace(plan, minimum=768, root=_root(ledger.files, 768).hex()),
    ):
        with pytest.raises(RefusedError, match="plan"):
            apply_prune(ledger.files, ledger, other, found, {})
    assert bundles(ledger) == {"000", "001", "002", "003.p"}
    with pytest.raises(IntegrityError):
        read_plan({**plan.document, "format": "other"})


def test_a_run_that_died_goes_on(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path), KeyFiles(tmp_path / "keys")
    found = limits(ledger, keys, pin(ledger))
    plan = planned(ledger.files, found)
    record = MemoryLedger()
    path = ledger.directory / "tile/entries/001"
    keep = path.read_bytes()
    assert apply_prune(ledger.files, record, plan, found, {}) == 2
    path.write_bytes(keep)  # as if it had died between the two
    again = limits(ledger, keys, pin(ledger))
    assert apply_prune(ledger.files, ledger, plan, again, {}) == 1
    assert bundles(ledger) == {"002", "003.p"}


def test_a_damaged_ledger_is_not_pruned(tmp_path: Path) -> None:
    ledger, keys = grown(tmp_path), KeyFiles(tmp_path / "keys")
    kept = pin(ledger)
    path = ledger.directory / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b"t.old", b"t.new", 1))
    with pytest.raises(IntegrityError, match="one was changed"):
        limits(ledger, keys, kept)
