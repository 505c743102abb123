"""Pruning the ledger, wired to policy, witnesses, holds and approvals of this installation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.access.model import Request, Standing
from llmvault.access.run import ask, demand
from llmvault.app.base import App
from llmvault.app.holds import hold_store
from llmvault.app.ledger import key_files, ledger_files, open_ledger
from llmvault.app.pinning import ledger_pins
from llmvault.app.retention import access_ports
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, PolicyError
from llmvault.core.files import write_durably
from llmvault.holds.model import Hold
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
from llmvault.ledger.verify import Pin
from llmvault.policy.ledger import PrunePolicy


@dataclass(frozen=True, slots=True)
class Pruned:
    """What applying a plan did.

    Attributes:
        files: how many went.
    """

    plan: PrunePlan
    files: int
    approved_by: tuple[str, ...]


def declared_prune(app: App) -> PrunePolicy:
    """Return what the policy says of pruning the ledger.

    Raises:
        PolicyError: when it says nothing: then nothing is ever pruned.
    """
    declared = app.policy.ledger.prune
    if declared is None:
        raise PolicyError(
            "ledger.prune",
            "the policy does not say how long entries are kept, so none is ever pruned",
            "declare keep and basis under ledger.prune",
        )
    return declared


def limits_now(app: App, pins: Sequence[Pin]) -> Limits:
    """Return how far the ledger may be pruned now, by the policy, what is pinned and what is held.

    Raises:
        IntegrityError: when the ledger does not verify, or a witness has another one.
    """
    found, _ = ledger_pins(app, app.runner)
    return prune_limits(
        ledger_files(app.settings),
        key_files(app.settings).verifiers(),
        (*found, *pins),
        before=declared_prune(app).keep.before(app.clock.now()),
        held=held_by([record.hold for record in hold_store(app).active()]),
    )


def held_by(holds: Sequence[Hold]) -> Held:
    """Return what tells which hold an entry falls under: it names what is held, or the hold itself,
    or is of a day whose logs are held."""
    ranges = [
        (hold, *hold.target.partition("..")[::2]) for hold in holds if hold.kind == "log-range"
    ]
    others = [hold for hold in holds if hold.kind != "log-range"]

    def held(entry: Entry) -> str:
        text = entry.data.decode(errors="replace")
        for hold in others:
            if _quoted(hold.target) in text or _quoted(hold.id) in text:
                return f"{hold.id} on {hold.kind} {hold.target}"
        day = entry.at.date().isoformat()
        for hold, first, last in ranges:
            if first <= day <= last or _quoted(hold.id) in text:
                return f"{hold.id} on logs of {hold.target}"
        return ""

    return held


def make_prune_plan(app: App, limits: Limits) -> PrunePlan | None:
    """Return the plan to prune as far as it may be; None when nothing may or needs to go."""
    declared = declared_prune(app)
    return plan_prune(
        ledger_files(app.settings), limits, keep=str(declared.keep), basis=declared.basis
    )


def ask_prune(app: App, plan: PrunePlan, by: str) -> Request:
    """Keep a plan and ask for its approval."""
    write_durably(_place(app, plan.digest), canonical_bytes(plan.document))
    what = f"prune the entries {plan.before} to {plan.minimum - 1} of the ledger"
    rule = declared_prune(app).approval
    return ask(access_ports(app), plan.digest, rule=rule, what=what, by=by)


def apply_approved(app: App, wanted: str, pins: Sequence[Pin]) -> Pruned:
    """Prune as an approved plan says.

    Raises:
        PolicyError: when there is no such plan.
        RefusedError: when it is not approved or no longer fits.
        IntegrityError: when the ledger does not verify.
    """
    plan = _kept_plan(app, wanted)
    with app.memory.exclusive("ledger-prune"):
        standing: Standing = demand(access_ports(app), plan.digest)
        ledger = open_ledger(app.settings, app.clock, app.ids)
        by = tuple(sorted(one.by for one in standing.counted))
        facts = {
            "approved_by": list(by),
            "approvals": [dict(one.facts) for one in standing.counted],
        }
        removed = apply_prune(ledger.files, ledger, plan, limits_now(app, pins), facts)
    return Pruned(plan, removed, by)


def _place(app: App, digest: str) -> Path:
    return app.settings.state / "ledger-prune" / f"{digest}.json"


def _kept_plan(app: App, wanted: str) -> PrunePlan:
    whole = len(wanted) >= 8 and set(wanted) <= set("0123456789abcdef")
    files = sorted(_place(app, "").parent.glob(f"{wanted}*.json")) if whole else []
    if len(files) != 1:
        raise PolicyError(
            f"plan {wanted[:12]!r}",
            "several begin so" if files else "it is not kept on this host",
            "make one: llmvault ledger prune plan --request",
        )
    try:
        document: dict[str, Any] = json.loads(files[0].read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"plan {wanted[:12]}", f"it cannot be read: {error}") from error
    plan = read_plan(document)
    if plan.digest != files[0].stem:
        raise IntegrityError(f"plan {wanted[:12]}", "it was altered")
    return plan


def _quoted(text: str) -> str:
    """Return a text as canonical JSON spells it."""
    return json.dumps(text, ensure_ascii=False)
