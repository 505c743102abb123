"""Does an approval count? Pure: same request, people, rule and time, same answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from llmvault.access.model import (
    FORMAT,
    NAMESPACE,
    Approval,
    Judged,
    Member,
    Request,
    Rule,
    Standing,
    Statement,
)
from llmvault.access.sshsig import SshSignature, fingerprint
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.units import format_time, parse_time

_CLOCKS_DIFFER_BY = timedelta(minutes=5)


def statement_bytes(statement: Statement) -> bytes:
    """Return the bytes that are signed: canonical JSON."""
    return canonical_bytes(
        {
            "format": FORMAT,
            "approves": statement.approves,
            "by": statement.by,
            "made": format_time(statement.made),
            "expires": format_time(statement.expires),
        }
    )


def read_statement(text: str) -> Statement:
    """Return what was signed.

    Raises:
        IntegrityError: when it is no statement, or not in its canonical form.
    """
    try:
        raw = json.loads(text)
        statement = Statement(
            approves=str(raw["approves"]),
            by=str(raw["by"]),
            made=parse_time(raw["made"]),
            expires=parse_time(raw["expires"]),
        )
        same = statement_bytes(statement) == text.encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError("approval", f"its statement cannot be read: {error}") from error
    if not same:
        raise IntegrityError("approval", "its statement was altered or is of another format")
    return statement


def member_of_key(members: Iterable[Member], public_key: str) -> Member | None:
    """Return whose key it is."""
    wanted = " ".join(public_key.split()[:2])
    return next((member for member in members if wanted in member.keys), None)


def member_of_account(members: Iterable[Member], account: str) -> Member | None:
    """Return whose account it is."""
    return next((member for member in members if account in member.accounts), None)


def fault_of(
    statement: Statement,
    signature: SshSignature,
    member: Member | None,
    request: Request,
    rule: Rule,
    now: datetime,
) -> str:
    """Return why an approval whose signature is good does not count; empty when it does."""
    return (
        _fault_of_time(statement, rule, now)
        or _fault_of_person(statement, member, request, rule)
        or _fault_of_key(signature, member, rule)
        or ("" if statement.approves == request.digest else "it approves another plan")
    )


def _fault_of_time(statement: Statement, rule: Rule, now: datetime) -> str:
    if statement.made > now + _CLOCKS_DIFFER_BY:
        return f"it is dated in the future ({format_time(statement.made)}): a clock is wrong"
    if now >= min(statement.expires, statement.made + rule.valid_for):
        return (
            f"it expired on {format_time(min(statement.expires, statement.made + rule.valid_for))}"
        )
    return ""


def _fault_of_person(
    statement: Statement, member: Member | None, request: Request, rule: Rule
) -> str:
    if member is None or member.name != statement.by:
        return f'"{statement.by}" is not among the people of the policy'
    if any(_is(member, asked) for asked in request.asked):
        return f"{member.name} asked for it, and who asks may not approve"
    if rule.roles and rule.roles.isdisjoint(member.roles):
        return f"{member.name} has none of the roles {', '.join(sorted(rule.roles))}"
    return ""


def _is(member: Member, asked: Mapping[str, str]) -> bool:
    return asked.get("by") == member.name or asked.get("account") in member.accounts


def _fault_of_key(signature: SshSignature, member: Member | None, rule: Rule) -> str:
    if member is None or signature.public_key not in member.keys:
        return "its key is not one of the person's keys"
    if signature.namespace != NAMESPACE:
        return f"it was signed for {signature.namespace}, not for {NAMESPACE}"
    if not signature.hardware:
        return "its key is not kept in hardware" if rule.hardware else ""
    if rule.touch and not signature.touched:
        return "the hardware key was not touched"
    if rule.pin and not signature.verified:
        return "the hardware key did not verify a PIN or a finger"
    return ""


def judged(statement: Statement, signature: SshSignature, fault: str) -> Judged:
    """Return an approval as it is shown."""
    facts: dict[str, Any] = {
        "by": statement.by,
        "made": format_time(statement.made),
        "expires": format_time(statement.expires),
        "key": fingerprint(signature.public_key),
        "hardware": signature.hardware,
        "touched": signature.touched,
        "pin": signature.verified,
    }
    return Judged(statement.by, fault, facts)


def standing_of(request: Request, rule: Rule, looked_at: Sequence[Judged]) -> Standing:
    """Count approvals: one of each person, and one of each key."""
    counted: dict[str, Judged] = {}
    others: list[Judged] = []
    for one in looked_at:
        keys = {other.facts.get("key") for other in counted.values()}
        if not one.fault and one.by not in counted and one.facts.get("key") in keys:
            others.append(replace(one, fault="its key has approved already, as somebody else"))
        elif one.fault:
            others.append(one)
        else:
            counted.setdefault(one.by, one)
    return Standing(request, rule, tuple(counted.values()), tuple(others))


def counter_fault(signature: SshSignature, before: Iterable[SshSignature]) -> str:
    """Return why a hardware key's counter is wrong; empty when it is not.

    A counter that does not go up is the mark of a cloned key. Keys that do not count say 0 always.
    """
    of_key = [one.counter for one in before if one.public_key == signature.public_key]
    highest = max(of_key, default=0)
    if signature.hardware and highest and signature.counter <= highest:
        return f"the key's counter says {signature.counter} after {highest}: it may be a clone"
    return ""


def approval_json(approval: Approval) -> dict[str, str]:
    """Return an approval as JSON values."""
    return {"statement": approval.statement, "signature": approval.signature}
