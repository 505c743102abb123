"""The kinds of evidence: which ledger entries each is made of. Pure.

A new kind of entry needs at most a row here; one that no row knows becomes an ``activity``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
_OWN = "urn:llmvault:evidence:{kind}:1"
_DAY = timedelta(days=1).total_seconds()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of evidence.

    Attributes:
        nouns: first words of ledger kinds, e.g. ``backup`` of ``backup.finished``.
        run_keys: facts that name the run; the first that is there counts.
        about_keys: facts that name what it was done to.
        valid_for: seconds until an observation goes stale; None when it does not.
        tested: whether it is a test, and so stated as a test result.
    """

    name: str
    title: str
    nouns: tuple[str, ...]
    run_keys: tuple[str, ...]
    about_keys: tuple[str, ...]
    valid_for: float | None = None
    tested: bool = False

    @property
    def predicate_type(self) -> str:
        """The ``predicateType`` of its statements."""
        return TEST_RESULT if self.tested else _OWN.format(kind=self.name)


KINDS: tuple[Kind, ...] = (
    Kind("backup", "Backups", ("backup",), ("recovery_point",), ("plan",), 2 * _DAY),
    Kind("drill", "Recovery drills", ("drill",), ("drill",), ("plan",), 92 * _DAY, tested=True),
    Kind("restore", "Restores", ("restore",), ("restore",), ("recovery_point",)),
    Kind(
        "retention", "Retention runs", ("retention", "deletion", "prune"), ("run", "plan"), (),
        35 * _DAY,
    ),
    Kind("hold", "Holds", ("hold",), ("id", "hold"), ("target",)),
    Kind("tamper", "Tamper tests", ("tamper",), (), ("repository",), 31 * _DAY, tested=True),
    Kind(
        "verification", "Verification of stored data", ("verification",), ("run",),
        ("repository", "source", "plan"), 31 * _DAY,
    ),
    Kind("copy", "Copies", ("copy", "copies"), ("recovery_point", "run"), ("plan", "repository")),
    Kind("approval", "Approvals", ("approval",), ("digest",), ()),
    Kind("key", "Keys", ("key", "keys", "epoch"), ("key", "id"), ()),
    Kind("policy", "Policies", ("policy",), ("digest",), ()),
    Kind("erasure", "Erasures", ("erasure",), ("request", "id"), ("subject",)),
    Kind("replay", "Erasures replayed at restores", ("replay",), ("restore", "drill"), ()),
    Kind("bucket", "Buckets", ("bucket", "lock"), ("plan",), ("bucket", "repository")),
    Kind("log", "Audit logs", ("log", "logs", "auditlog"), ("segment", "id"), ("stream",)),
    Kind("evidence", "Evidence made before", ("evidence",), ("bundle",), ()),
    Kind("ledger", "The ledger itself", ("ledger", "checkpoint"), (), ()),
    Kind("coverage", "Verification coverage", (), (), ()),
    Kind("activity", "Other activity", (), ("id", "run"), ("plan", "repository", "source")),
)  # fmt: skip

BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
BY_NOUN: Mapping[str, Kind] = {noun: kind for kind in KINDS for noun in kind.nouns}

BEGUN = frozenset(
    {"started", "begun", "starting", "changing", "releasing", "deleting", "requested", "planned"}
)
"""Events that announce something: alone they prove nothing."""

BAD = frozenset({"failed", "refused", "stopped", "aborted"})
"""Events that tell of a failure by their name."""


def kind_of(ledger_kind: str) -> Kind:
    """Return the kind of evidence that a ledger entry belongs to."""
    return BY_NOUN.get(ledger_kind.partition(".")[0], BY_NAME["activity"])


def event_of(ledger_kind: str) -> str:
    """Return the event of a ledger entry: ``finished`` of ``backup.finished``."""
    return ledger_kind.partition(".")[2]


def lifetimes(of_policy: Mapping[str, float]) -> dict[str, float]:
    """Return kind -> seconds until it goes stale; what the policy says wins."""
    built_in = {kind.name: kind.valid_for for kind in KINDS if kind.valid_for is not None}
    return built_in | dict(of_policy)
