"""Wiring of the ledger, its keys, and what keeps its checkpoints outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.core.files import waiting_lock, write_durably
from llmvault.core.ids import Ids
from llmvault.core.verdict import Check, Verdict
from llmvault.doctor.model import Diagnosis
from llmvault.keys.store import KeyFiles
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.stamps import StampFiles, overdue_stamp, stamp_if_due, verify_stamps
from llmvault.ledger.writer import TileLedger
from llmvault.policy.ledger import LedgerPolicy, TimeStamps
from llmvault.policy.loaded import LoadedPolicy
from llmvault.recovery.tail import file_digests
from llmvault.settings import Settings

_NOW = timedelta(0)


def key_files(settings: Settings) -> KeyFiles:
    """Return where this installation's keys are."""
    return KeyFiles(settings.state / "keys")


def open_ledger(settings: Settings, clock: Clock, ids: Ids) -> TileLedger:
    """Return this installation's ledger, begun with a key of its own if there is none.

    Raises:
        UnavailableError: when there were keys once and the one that signs is missing.
    """
    keys = key_files(settings)
    ledger = TileLedger(
        directory=settings.state / "ledger",
        key=keys.signing_key,
        verifiers=keys.verifiers,
        clock=clock,
        host=settings.host,
    )
    if not ledger.files.exists():
        name = f"{settings.host}/llmvault/{ids.token()}"
        made = not keys.known()
        key = keys.make(name) if made else keys.signing_key()
        ledger.begin(key.name)
        if made:
            ledger.append("key.made", {"new": key.verifier.text()})
    return ledger


def ledger_files(settings: Settings) -> LedgerFiles:
    """Return this installation's ledger, for reading."""
    return LedgerFiles(settings.state / "ledger")


def stamp_ledger(
    files: LedgerFiles, policy: LedgerPolicy, clock: Clock, *, now: bool = False
) -> tuple[Check, ...]:
    """Have the newest checkpoint stamped where that is due; no check where it is not.

    Args:
        now: have it stamped whether due or not.
    """
    declared = policy.time_stamps
    if declared is None:
        return ()
    from llmvault.ledger.authority import HttpAuthority

    stamped = stamp_if_due(
        StampFiles(files.directory),
        HttpAuthority(declared),
        files.checkpoint(),
        now=clock.now(),
        every=_NOW if now else declared.every,
    )
    return (stamped,) if stamped else ()


def verify_time_stamps(
    files: LedgerFiles, declared: TimeStamps, keys: KeyFiles, clock: Clock
) -> Check:
    """Verify the stamps that are kept, with the certificates of the policy."""
    from llmvault.ledger.authority import HttpAuthority

    return verify_stamps(
        files, HttpAuthority(declared), keys.verifiers(), now=clock.now(), every=declared.every
    )


def diagnose_ledger(settings: Settings, policy: LedgerPolicy, clock: Clock) -> Iterator[Diagnosis]:
    """Yield what the doctor says of the ledger's time stamps."""
    files, declared = ledger_files(settings), policy.time_stamps
    if declared is None or not files.exists():
        return
    subject, now = "time stamps of the ledger", clock.now()
    overdue = overdue_stamp(files, now=now, every=declared.every)
    if overdue:
        step = "see that the authority can be reached; llmvault ledger checkpoint asks it again"
        yield Diagnosis(subject, Verdict.UNPROVEN, overdue, step)
    else:
        yield Diagnosis(subject, Verdict.PROVEN, "none is waited for")


def enter_policy(ledger: TileLedger, loaded: LoadedPolicy, state: Path) -> None:
    """Enter the policy in force unless it is the one that was entered last, whoever comes first.

    Raises:
        UnavailableError: when a policy file cannot be read any more, or the ledger not be written.
    """
    facts = {"policy": loaded.digest, "files": file_digests(policy_files(loaded))}
    place = state / "policy-in-force.json"
    if _remembered(place) == facts:
        return
    with waiting_lock(state / "locks" / "policy.lock"):
        before = _remembered(place) or _entered_last(ledger)
        if before != facts:
            ledger.append("policy.changed", {**facts, "before": before.get("policy", "")})
        write_durably(place, json.dumps(facts).encode())


def policy_files(loaded: LoadedPolicy) -> dict[str, bytes]:
    """Return name -> bytes of the policy files, as they are now.

    Raises:
        UnavailableError: when one cannot be read.
    """
    try:
        return {
            path.relative_to(loaded.directory).as_posix(): path.read_bytes()
            for path in loaded.files
        }
    except OSError as error:
        raise UnavailableError(
            f"policy file {error.filename}", f"it cannot be read any more: {error.strerror}"
        ) from error


def _remembered(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _entered_last(ledger: TileLedger) -> dict[str, Any]:
    facts: Mapping[str, Any] = {}
    for entry in ledger.files.entries():
        if entry.kind == "policy.changed":
            facts = entry.facts
    return {key: facts[key] for key in ("policy", "files") if key in facts}
