"""Keeping the ledger's checkpoint outside, and reading what is kept there: every place there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from llmvault.app.copying import copy_checks
from llmvault.app.installation import Installation
from llmvault.app.ledger import ledger_files, stamp_ledger
from llmvault.core.errors import VaultError
from llmvault.core.files import write_durably
from llmvault.core.process import Runner
from llmvault.core.units import format_time
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.verify import Pin
from llmvault.ledger.witnesses import build_witnesses, pins_of, publish
from llmvault.recovery.pins import not_asked, repository_pins

_SKIPPED = "not looked into: --offline; what it has pinned is unknown"


def keep_outside(app: Installation, runner: Runner, *, now: bool = False) -> tuple[Check, ...]:
    """Stamp the ledger's newest checkpoint, copy all of it, and hand the checkpoint to witnesses.

    In this order: the copies hold the stamp, and none of them is older than what a witness has. A
    checkpoint that is newer than every copy would make the true ledger look like one that was cut
    back, once this machine is lost.

    Args:
        now: have it stamped whether due or not.
    """
    files, declared = ledger_files(app.settings), app.policy.ledger
    stamped = stamp_ledger(files, declared, app.clock, now=now)
    checkpoint = files.checkpoint()
    copied = copy_checks(app)
    return (*copied, *publish(build_witnesses(declared, runner), checkpoint), *stamped)


def ledger_pins(
    app: Installation, runner: Runner, *, offline: bool = False
) -> tuple[tuple[Pin, ...], tuple[Check, ...]]:
    """Return what is pinned of the ledger by witnesses and in repositories.

    Read before the ledger is: what is appended meanwhile is no reason to call it an older one.

    Args:
        offline: repositories are not looked into, and that is told as unproven.
    """
    origin = ledger_files(app.settings).checkpoint().head.origin
    pins, silent = pins_of(build_witnesses(app.policy.ledger, runner), origin)
    names = tuple(app.policy.repositories)
    if offline:
        return pins, (*silent, *not_asked(names, _SKIPPED))
    opened = {name: partial(app.repository, name) for name in names}
    more, quiet = repository_pins(opened, origin, {app.settings.host})
    return (*pins, *more), (*silent, *quiet)


def remember_verified(
    app: Installation, verdict: Verdict, pins: Sequence[Pin], checks: Sequence[Check]
) -> None:
    """Keep how a verification ended, for ``llmvault status``."""
    try:
        head = ledger_files(app.settings).checkpoint().head
    except VaultError:
        return  # there is no ledger to speak of
    asked = {check.source: check for check in checks if check.name in ("pinned", "witness")}
    told = {
        "at": format_time(app.clock.now()),
        "origin": head.origin,
        "entries": head.size,
        "verdict": verdict.value,
        "pins": [
            {
                "where": where,
                "verdict": check.verdict.value,
                "entries": next(
                    (one.checkpoint.head.size for one in pins if one.where == where), 0
                ),
            }
            for where, check in asked.items()
            if where
        ],
    }
    write_durably(app.settings.state / _VERIFIED, json.dumps(told).encode())


_VERIFIED = "ledger-verified.json"


def ledger_standing(app: Installation) -> dict[str, Any]:
    """Return ``entries``, and ``verified``: how the last verification ended; None without any."""
    files = ledger_files(app.settings)
    if not files.exists():
        return {"entries": 0, "verified": None}
    head = files.checkpoint().head
    try:
        told = json.loads((app.settings.state / _VERIFIED).read_bytes())
    except (OSError, ValueError):
        told = None
    same = isinstance(told, dict) and told.get("origin") == head.origin
    return {"entries": head.size, "verified": told if same else None}
