"""Who asked for what, and who approved it, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

NAMESPACE = "llmvault-approve@v1"
FORMAT = "llmvault/approval/1"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody whom the policy names.

    Attributes:
        keys: public keys as ``TYPE BASE64``.
        accounts: login names on hosts.
    """

    name: str
    roles: frozenset[str]
    keys: tuple[str, ...]
    accounts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of approvals: see ``policy.access.ApprovalRule``."""

    name: str
    approvers: int
    roles: frozenset[str]
    valid_for: timedelta
    hardware: bool
    touch: bool
    pin: bool


@dataclass(frozen=True, slots=True)
class Request:
    """Something that somebody asked to have approved.

    Attributes:
        digest: SHA-256 of the plan.
        rule: name of the approval rule that it falls under.
        what: in a sentence.
        asked: who asked when: ``by`` (a person's name, or empty), ``account``, ``at`` (RFC 3339).
            The same thing may be asked for more than once; nobody who did may approve it.
    """

    digest: str
    rule: str
    what: str
    asked: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What an approver signs."""

    approves: str
    by: str
    made: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval as it is kept: the bytes that were signed, and the signature.

    Attributes:
        statement: canonical JSON, the bytes that were signed.
        signature: armoured, of ``ssh-keygen -Y sign``.
    """

    statement: str
    signature: str


@dataclass(frozen=True, slots=True)
class Judged:
    """An approval that was looked at.

    Attributes:
        fault: why it does not count; empty when it does.
        facts: ``by``, ``made``, ``expires``, ``key`` (fingerprint), ``hardware``, ``touched``,
            ``pin``; what could be read of them.
    """

    by: str
    fault: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the approval of a request has come.

    Attributes:
        counted: approvals that count.
        others: approvals that do not, with their faults.
        missing: how many more people must approve.
    """

    request: Request
    rule: Rule
    counted: tuple[Judged, ...]
    others: tuple[Judged, ...]

    @property
    def missing(self) -> int:
        """How many more people must approve."""
        return max(0, self.rule.approvers - len(self.counted))
