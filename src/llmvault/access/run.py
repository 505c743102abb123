"""Asking for approval, approving, and finding out whether something is approved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llmvault.access.keygen import KeyGen
from llmvault.access.model import Approval, Judged, Member, Request, Rule, Standing, Statement
from llmvault.access.plan import (
    approval_json,
    counter_fault,
    fault_of,
    judged,
    member_of_account,
    member_of_key,
    read_statement,
    standing_of,
    statement_bytes,
)
from llmvault.access.sshsig import SshSignature, parse_signature
from llmvault.access.store import AccessStore
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, PolicyError, RefusedError
from llmvault.core.units import format_time
from llmvault.ledger.interface import Ledger


@dataclass(frozen=True, slots=True)
class AccessPorts:
    """What approvals work with.

    Attributes:
        account: the login name under which this process runs.
        members: name -> person of the policy.
        rules: name -> approval rule of the policy.
    """

    clock: Clock
    keygen: KeyGen
    store: AccessStore
    ledger: Ledger
    account: str
    members: Mapping[str, Member]
    rules: Mapping[str, Rule]


def who_asks(ports: AccessPorts, name: str) -> str:
    """Return the person who is at it: whose account this is, else the one named (may be empty).

    Raises:
        RefusedError: when the account is one person's and another is named.
        PolicyError: when nobody is called so.
    """
    owner = member_of_account(ports.members.values(), ports.account)
    if name and name not in ports.members:
        known = ", ".join(ports.members) or "nobody"
        raise PolicyError(f'person "{name}"', "the policy does not know them", f"it has {known}")
    if owner and name and owner.name != name:
        raise RefusedError(
            f'person "{name}"',
            f"this is the account of {owner.name}",
            "ask under your own name",
        )
    return owner.name if owner else name


def ask(ports: AccessPorts, digest: str, *, rule: str, what: str, by: str) -> Request:
    """Record that somebody asks for something to be approved, and return the request.

    Asking again changes nothing, but nobody who asked may approve.
    """
    asked = {"by": by, "account": ports.account, "at": format_time(ports.clock.now())}
    before = ports.store.request(digest)
    known = before.asked if before else ()
    if any((one["by"], one["account"]) == (by, ports.account) for one in known):
        assert before is not None  # noqa: S101  who asked is known from it
        return before
    request = Request(digest, rule, what, (*known, asked))
    ports.ledger.append(
        "approval.requested",
        {"digest": digest, "rule": rule, "what": what, "by": by, "account": ports.account},
    )
    ports.store.keep_request(request)
    return request


def statement_for(ports: AccessPorts, digest: str, by: str) -> Statement:
    """Return what somebody signs to approve a digest.

    Raises:
        PolicyError: when nobody asked for that digest, or its rule or the person is not there.
    """
    request, rule = _asked(ports, digest)
    if by not in ports.members:
        raise PolicyError(f'person "{by}"', "the policy does not know them", "see: policies/")
    now = ports.clock.now()
    return Statement(request.digest, by, now, now + rule.valid_for)


def approve_with_key(ports: AccessPorts, digest: str, key: Path) -> Standing:
    """Sign with a key, as the person whose key it is, and keep the approval.

    Raises:
        RefusedError: when the approval would not count.
        UnavailableError: when the key could not be used.
    """
    member = member_of_key(ports.members.values(), ports.keygen.public_key(key))
    if member is None:
        raise RefusedError(
            f"key {key}", "it is nobody's key in the policy", "add its .pub line under people:"
        )
    text = statement_bytes(statement_for(ports, digest, member.name))
    # what would be refused anyway is not signed
    request, _ = _asked(ports, digest)
    if any(one.get("by") == member.name for one in request.asked):
        raise RefusedError(
            f"approval of {digest[:12]}",
            f"{member.name} asked for it, and who asks may not approve",
            "let somebody else approve",
        )
    return admit(ports, Approval(text.decode(), ports.keygen.sign(key, text)))


def admit(ports: AccessPorts, approval: Approval) -> Standing:
    """Keep an approval that counts, in the ledger too, and return how far the request has come.

    Raises:
        RefusedError: when it does not count.
        IntegrityError: when it cannot be read.
    """
    statement = read_statement(approval.statement)
    request, rule = _asked(ports, statement.approves)
    signature = parse_signature(approval.signature)
    one = _judge(ports, approval, request, rule, ports.clock.now())
    if repeated := _repeated(ports, signature, approval):
        one = replace(one, fault=one.fault or repeated)
    if one.fault:
        raise RefusedError(
            f"approval of {request.digest[:12]}", one.fault, "sign anew: llmvault approve DIGEST"
        )
    ports.ledger.append(
        "approval.given",
        {"digest": request.digest, "rule": rule.name, **one.facts, **approval_json(approval)},
    )
    ports.store.keep_approval(request.digest, statement.by, approval)
    return standing(ports, request.digest)


def standing(ports: AccessPorts, digest: str) -> Standing:
    """Return how far a request has come, every approval looked at anew.

    Raises:
        PolicyError: when nobody asked for it, or the policy no longer has its rule.
    """
    request, rule = _asked(ports, digest)
    now = ports.clock.now()
    kept = ports.store.approvals(digest)
    return standing_of(
        request, rule, [_judge(ports, approval, request, rule, now) for approval in kept]
    )


def demand(ports: AccessPorts, digest: str) -> Standing:
    """Return the approvals of something that may be done.

    Raises:
        RefusedError: when it is not approved; says what is missing.
    """
    found = standing(ports, digest)
    if found.missing:
        faults = "".join(f"; that of {one.by or 'somebody'}: {one.fault}" for one in found.others)
        raise RefusedError(
            f"plan {digest[:12]}",
            f"{len(found.counted)} of {found.rule.approvers} have approved it{faults}",
            f"let others run: llmvault approve {digest}",
        )
    return found


def _asked(ports: AccessPorts, digest: str) -> tuple[Request, Rule]:
    request = ports.store.request(digest)
    if request is None:
        raise PolicyError(
            f"plan {digest[:12]}",
            "nobody asked to have it approved on this host",
            "ask first: llmvault retention plan --request",
        )
    rule = ports.rules.get(request.rule)
    if rule is None:
        raise RefusedError(
            f"plan {digest[:12]}",
            f'the policy does not say who approves it: there is no "{request.rule}" in approvals',
            "declare it under approvals:",
        )
    return request, rule


def _judge(
    ports: AccessPorts, approval: Approval, request: Request, rule: Rule, now: datetime
) -> Judged:
    try:
        statement = read_statement(approval.statement)
        signature = parse_signature(approval.signature)
    except IntegrityError as error:
        return Judged("", error.cause)
    said = ports.keygen.verifies(
        signature.public_key, approval.statement.encode(), approval.signature
    )
    if said:
        return judged(statement, signature, f"its signature is not good: {said}")
    member = ports.members.get(statement.by)
    return judged(statement, signature, fault_of(statement, signature, member, request, rule, now))


def _repeated(ports: AccessPorts, signature: SshSignature, approval: Approval) -> str:
    """Return why a hardware key's counter forbids an approval that is new here."""
    before = [one for one in ports.store.all_approvals() if one != approval]
    return counter_fault(signature, [parse_signature(one.signature) for one in before])
