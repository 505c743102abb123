"""Pruning a ledger by a minimum index (C2SP tlog-tiles, "Pruning"): old entries go, hashes stay.

Bundles of entries wholly below the minimum index are removed. Tiles of hashes stay, so that every
root, consistency proof and inclusion proof can still be made, and everything outside that was tied
to the ledger stays tied to it. Whole bundles only, so a minimum index is a multiple of 256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.errors import IntegrityError, RefusedError
from llmvault.core.files import write_durably
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.keys.note import VerifierKey
from llmvault.ledger.files import MINIMUM_INDEX, LedgerFiles
from llmvault.ledger.interface import Ledger
from llmvault.ledger.merkle import tree_root
from llmvault.ledger.model import Entry
from llmvault.ledger.tiles import WIDTH, tile_path
from llmvault.ledger.verify import Pin, verify_ledger

FORMAT = "llmvault/ledger-prune/1"
Held = Callable[[Entry], str]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a ledger may be pruned now.

    Attributes:
        by_age: first index whose entry is younger than the policy keeps.
        by_pin: size of the greatest checkpoint that is kept outside and fits the ledger.
        by_hold: first index that concerns something held; None when none does.
        hold: what holds it.
    """

    by_age: int
    by_pin: int
    by_hold: int | None = None
    hold: str = ""

    @property
    def minimum(self) -> int:
        """The greatest minimum index that all allow, a multiple of 256."""
        indices = (self.by_age, self.by_pin, *([] if self.by_hold is None else [self.by_hold]))
        return min(indices) // WIDTH * WIDTH

    @property
    def reason(self) -> str:
        """What keeps more from being pruned."""
        if self.by_hold is not None and self.by_hold <= min(self.by_age, self.by_pin):
            return f"entry {self.by_hold} is held: {self.hold}"
        if self.by_pin < self.by_age:
            return f"no checkpoint of more than {self.by_pin} entries is kept outside and fits"
        return f"entry {self.by_age} is younger than the policy keeps"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What would be removed; plain data, named by its digest.

    Attributes:
        before: the minimum index as it is.
        minimum: as it will be.
        root: of the tree of the first `minimum` entries, hexadecimal.
        newest: time of the youngest entry that goes.
    """

    origin: str
    before: int
    minimum: int
    root: str
    newest: str
    keep: str
    basis: str

    @property
    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "format": FORMAT,
            "origin": self.origin,
            "before": self.before,
            "minimum": self.minimum,
            "root": self.root,
            "newest": self.newest,
            "keep": self.keep,
            "basis": self.basis,
        }

    @property
    def digest(self) -> str:
        """What people approve."""
        return digest(self.document)


def read_plan(document: Mapping[str, Any]) -> PrunePlan:
    """Return the plan of a document.

    Raises:
        IntegrityError: when it is none.
    """
    try:
        if document["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        texts = {
            name: str(document[name]) for name in ("origin", "root", "newest", "keep", "basis")
        }
        return PrunePlan(before=int(document["before"]), minimum=int(document["minimum"]), **texts)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("plan to prune the ledger", f"it cannot be read: {error}") from error


def prune_limits(
    files: LedgerFiles,
    keys: Sequence[VerifierKey],
    pins: Sequence[Pin],
    *,
    before: datetime,
    held: Held,
) -> Limits:
    """Return how far the ledger may be pruned.

    Args:
        before: entries of this time or later stay.
        held: returns what holds an entry; empty when nothing does.

    Raises:
        IntegrityError: when the ledger does not verify, or does not begin with what is pinned.
    """
    checks = verify_ledger(files, keys, pins)
    if bad := [check for check in checks if check.verdict is Verdict.FAILED]:
        told = "; ".join(f"{check.name} {check.source}: {check.detail}" for check in bad)
        raise IntegrityError("ledger", told, "look at: llmvault ledger verify")
    proven = {
        check.source
        for check in checks
        if check.name == "pinned" and check.verdict is Verdict.PROVEN
    }
    sizes = [pin.checkpoint.head.size for pin in pins if pin.where in proven]
    by_age = files.checkpoint().head.size
    by_hold, hold = None, ""
    for entry in files.entries():
        if entry.at >= before:
            by_age = entry.index
            break
        if by_hold is None and (hold := held(entry)):
            by_hold = entry.index
    return Limits(by_age, max(sizes, default=0), by_hold, hold)


def plan_prune(files: LedgerFiles, limits: Limits, *, keep: str, basis: str) -> PrunePlan | None:
    """Return the plan to prune as far as the limits allow; None when there is nothing to prune."""
    before, minimum = files.minimum_index(), limits.minimum
    if minimum <= before:
        return None
    head = files.checkpoint().head
    newest = max(entry.at for entry in files.entries(before, minimum))
    return PrunePlan(
        origin=head.origin,
        before=before,
        minimum=minimum,
        root=tree_root(files.tree(head), minimum).hex(),
        newest=format_time(newest),
        keep=keep,
        basis=basis,
    )


def apply_prune(
    files: LedgerFiles, ledger: Ledger, plan: PrunePlan, limits: Limits, facts: Mapping[str, Any]
) -> int:
    """Remove what an approved plan says; return how many files went. Run again, it goes on.

    Args:
        facts: who approved it, for the ledger.

    Raises:
        RefusedError: when the plan no longer fits: another ledger, another minimum index, or
            something that it would remove must stay now.
    """
    _demand_fit(files, plan, limits)
    told = {**facts, "plan": plan.digest, "before": plan.before, "minimum": plan.minimum}
    ledger.append("ledger.pruning", {**told, "root": plan.root, "keep": plan.keep})
    write_durably(files.directory / MINIMUM_INDEX, f"{plan.minimum}\n".encode())
    removed = 0
    for number in range(plan.before // WIDTH, plan.minimum // WIDTH):
        path = files.directory / tile_path("entries", number)
        removed += path.exists()
        path.unlink(missing_ok=True)
    ledger.append("ledger.pruned", {**told, "files": removed})
    return removed


def _demand_fit(files: LedgerFiles, plan: PrunePlan, limits: Limits) -> None:
    head, present = files.checkpoint().head, files.minimum_index()
    cause = ""
    if head.origin != plan.origin or tree_root(files.tree(head), plan.minimum).hex() != plan.root:
        cause = "it is of another ledger"
    elif present not in (plan.before, plan.minimum):
        cause = f"the minimum index is {present} now"
    elif limits.minimum < plan.minimum:
        cause = f"it would prune up to {plan.minimum}, and {limits.reason}"
    if cause:
        raise RefusedError(
            f"plan {plan.digest[:12]}",
            cause,
            "make a new one: llmvault ledger prune plan --request",
        )
