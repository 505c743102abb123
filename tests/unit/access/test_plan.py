"""When an approval counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llmvault.access.model import NAMESPACE, Judged, Member, Request, Rule, Statement
from llmvault.access.plan import (
    counter_fault,
    fault_of,
    read_statement,
    standing_of,
    statement_bytes,
)
from llmvault.access.sshsig import SshSignature
from llmvault.core.errors import IntegrityError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEY = "sk-ssh-ed25519@openssh.com AAAA"
MEMBER = Member("ada", frozenset({"owner"}), (KEY,), frozenset({"adal"}))
REQUEST = Request("d" * 64, "retention", "", ({"by": "bert", "account": "bertl", "at": "x"},))
RULE = Rule(
    "retention", 1, frozenset({"owner"}), timedelta(days=1), hardware=True, touch=True, pin=True
)
SIGNATURE = SshSignature(
    "sk-ssh-ed25519@openssh.com", KEY, NAMESPACE, hardware=True, touched=True, verified=True,
    counter=5,
)  # fmt: skip
STATEMENT = Statement("d" * 64, "ada", NOW - timedelta(hours=1), NOW + timedelta(hours=1))


def fault(
    statement: Statement = STATEMENT,
    signature: SshSignature = SIGNATURE,
    member: Member | None = MEMBER,
    request: Request = REQUEST,
    rule: Rule = RULE,
) -> str:
    return fault_of(statement, signature, member, request, rule, NOW)


def test_a_good_one_counts() -> None:
    assert fault() == ""


def asked(by: str, account: str) -> Request:
    return replace(REQUEST, asked=(*REQUEST.asked, {"by": by, "account": account, "at": "y"}))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (fault(replace(STATEMENT, approves="e" * 64)), "another plan"),
        (fault(replace(STATEMENT, expires=NOW)), "expired"),
        (fault(replace(STATEMENT, made=NOW - timedelta(days=1))), "expired"),
        (
            fault(replace(STATEMENT, made=NOW + timedelta(minutes=6))),
            "from the future|in the future",
        ),
        (fault(member=None), "not among the people"),
        (fault(replace(STATEMENT, by="bert")), "not among the people"),
        (fault(request=asked("ada", "x")), "who asks may not approve"),
        (fault(request=asked("", "adal")), "who asks may not approve"),
        (fault(member=replace(MEMBER, roles=frozenset({"operator"}))), "none of the roles"),
        (fault(member=replace(MEMBER, keys=("ssh-ed25519 B",))), "not one of the person's keys"),
        (fault(signature=replace(SIGNATURE, namespace="git")), "was signed for git"),
        (fault(signature=replace(SIGNATURE, hardware=False)), "not kept in hardware"),
        (fault(signature=replace(SIGNATURE, touched=False)), "not touched"),
        (fault(signature=replace(SIGNATURE, verified=False)), "PIN"),
    ],
)
def test_what_makes_one_not_count(found: str, words: str) -> None:
    assert any(word in found for word in words.split("|")), found


def test_without_the_flags_where_they_are_not_asked_for() -> None:
    free = replace(RULE, hardware=False, touch=False, pin=False, roles=frozenset())
    bare = replace(SIGNATURE, touched=False, verified=False)
    assert fault(signature=bare, rule=free) == ""
    assert fault(signature=replace(bare, hardware=False), rule=free) == ""


def test_each_person_and_each_key_counts_once() -> None:
    def one(by: str, key: str, fault: str = "") -> Judged:
        return Judged(by, fault, {"key": key})

    two = replace(RULE, approvers=2)
    same_person = standing_of(REQUEST, two, [one("ada", "a"), one("ada", "b")])
    assert same_person.missing == 1
    same_key = standing_of(REQUEST, two, [one("ada", "a"), one("carl", "a")])
    assert same_key.missing == 1
    assert "as somebody else" in same_key.others[0].fault
    assert standing_of(REQUEST, two, [one("ada", "a"), one("carl", "c")]).missing == 0
    assert standing_of(REQUEST, two, [one("ada", "a"), one("carl", "c", "bad")]).missing == 1


@pytest.mark.parametrize(
    ("before", "counter", "good"),
    [([], 0, True), ([5], 6, True), ([5], 5, False), ([9, 5], 8, False), ([0, 0], 0, True)],
)
def test_a_counter_that_does_not_go_up(before: list[int], counter: int, good: bool) -> None:
    known = [replace(SIGNATURE, counter=one) for one in before]
    said = counter_fault(replace(SIGNATURE, counter=counter), known)
    assert (said == "") is good
    other = replace(SIGNATURE, counter=counter, public_key="sk-ssh-ed25519@openssh.com BBBB")
    assert counter_fault(other, known) == ""


def test_a_statement_reads_back() -> None:
    text = statement_bytes(STATEMENT).decode()
    assert read_statement(text) == STATEMENT
    for bad in (text.replace("ada", "ad\\u0061"), text + " ", "{}", "[]", "", "nonsense"):
        with pytest.raises(IntegrityError):
            read_statement(bad)
