"""What a target is told, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.policy.notify import FINDING_KINDS, SEVERITIES, event_kinds
from llmvault.schedule.books import BookStore
from llmvault.schedule.letters import message_of
from llmvault.schedule.model import Finding, Outcome, Run
from llmvault.schedule.telling import (
    Book,
    Letter,
    Rules,
    delivered,
    event_of,
    failed,
    letter_of,
    may_try,
    observed,
    spoken_for,
    trouble_finding,
    weighed,
    with_event,
)
from tests.fakes.jobs import job

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RULES = Rules("warning", DAY, resolved=True, settle=timedelta(), even_when_quiet="critical")


def finding(key: str = "a", severity: str = "warning", kind: str = "overdue") -> Finding:
    return Finding(key, kind, severity, "gpu-1", key, f"{key} is late", "look")


def told(book: Book, findings: Sequence[Finding], at: datetime, rules: Rules = RULES) -> Letter:
    return letter_of(observed(book, findings, rules, at), findings, rules, at)


def after(book: Book, findings: Sequence[Finding], at: datetime, rules: Rules = RULES) -> Book:
    seen = observed(book, findings, rules, at)
    return delivered(seen, letter_of(seen, findings, rules, at), at)


def test_a_thing_is_told_once_then_again_then_that_it_is_over() -> None:
    book = after(Book(), [finding()], NOON)
    assert not told(book, [finding()], NOON + HOUR)
    assert told(book, [finding()], NOON + DAY).still == (finding(),)
    over = told(book, [], NOON + HOUR)
    assert [one.finding.key for one in over.over] == ["a"]
    assert over.severity == "resolved"
    assert not told(after(book, [], NOON + HOUR), [], NOON + 2 * HOUR)


def test_what_becomes_worse_is_told_at_once_and_what_becomes_better_is_not() -> None:
    book = after(Book(), [finding()], NOON)
    worse = finding(severity="critical")
    assert told(book, [worse], NOON + MINUTE).new == (worse,)
    assert not told(after(book, [worse], NOON + MINUTE), [finding()], NOON + 2 * MINUTE)


def test_what_comes_and_goes_is_one_thing() -> None:
    rules = replace(RULES, settle=10 * MINUTE)
    book = after(Book(), [finding()], NOON, rules)
    for minute in range(1, 60):
        there = [finding()] if minute % 2 else []
        assert not told(book, there, NOON + minute * MINUTE, rules)
        book = after(book, there, NOON + minute * MINUTE, rules)
    book = observed(book, [], rules, NOON + 60 * MINUTE)
    assert told(book, [], NOON + 70 * MINUTE, rules).over


def test_what_cannot_be_judged_is_not_over() -> None:
    blind = finding("catalog", "critical", "catalog-unavailable")
    book = after(Book(), [finding()], NOON)
    book = after(book, [blind], NOON + HOUR)
    assert not told(book, [blind], NOON + 2 * HOUR).over
    assert [one.finding.key for one in told(book, [finding()], NOON + 3 * HOUR).over] == ["catalog"]


def test_quiet_hours_wait_and_critical_things_do_not() -> None:
    night = replace(RULES, quiet=True)
    bad = finding("b", "critical")
    book = after(Book(), [finding(), bad], NOON, night)
    assert set(book.told) == {"b"}
    assert told(book, [finding(), bad], NOON + HOUR).new == (finding(),)
    day = after(Book(), [finding()], NOON)
    assert not told(day, [], NOON + HOUR, night)
    assert told(after(day, [], NOON + HOUR, night), [], NOON + 2 * HOUR).over


def test_a_target_that_wants_less_forgets_without_a_word() -> None:
    book = after(Book(), [finding()], NOON)
    rules = replace(RULES, at_least="critical")
    assert not told(book, [finding()], NOON + HOUR, rules)
    assert not told(after(book, [finding()], NOON + HOUR, rules), [], NOON + 2 * HOUR, rules)
    silent = replace(RULES, resolved=False)
    assert not told(book, [], NOON + HOUR, silent)
    assert not after(book, [], NOON + HOUR, silent).told


def test_a_clock_that_was_ahead_delays_nothing() -> None:
    book = after(Book(), [finding()], NOON + 30 * DAY)
    assert told(book, [finding()], NOON).still == (finding(),)
    broken = failed(Book(), "no", NOON + 30 * DAY)
    assert may_try(broken, NOON)


def test_a_target_that_fails_is_tried_again_after_growing_waits() -> None:
    book, waits = Book(), []
    for _ in range(9):
        assert may_try(book, NOON)
        book = failed(replace(book), "answered 500", NOON)
        assert book.trouble is not None
        assert not may_try(book, NOON)
        waits.append(book.trouble.again - NOON)
        book = replace(book, trouble=replace(book.trouble, again=NOON))
    assert waits[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert max(waits) == HOUR
    assert book.trouble is not None
    said = trouble_finding("gpu-1", "chat", book.trouble)
    assert "answered 500" in said.message
    assert delivered(book, Letter(), NOON).trouble is None


def run_of(outcome: Outcome) -> Run:
    return Run("nightly", "backup", "gpu-1", "gpu-1", NOON, NOON, NOON, 1, outcome, 0, "x\nlast")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_run_is_told_by_an_event_or_by_a_finding(outcome: Outcome) -> None:
    event = event_of(job("0 1 * * *"), run_of(outcome))
    good = outcome in (Outcome.PROVEN, Outcome.INTERRUPTED)
    assert (event is not None) == good
    if event is not None:
        assert event.kind in event_kinds()
        assert event.message.endswith(": last")


def test_runs_are_told_to_those_who_want_to_hear_of_them() -> None:
    event = event_of(job("0 1 * * *"), run_of(Outcome.PROVEN))
    assert event is not None
    assert with_event(Book(), event, RULES) == Book()
    (raised,) = weighed([event], {"backup-proven": "warning"})
    book = with_event(Book(), raised, RULES)
    assert told(book, [], NOON).events == (raised,)
    assert not told(after(book, [], NOON), [], NOON)
    many = Book()
    for _ in range(200):
        many = with_event(many, raised, RULES)
    assert len(many.events) == 50


def test_one_host_speaks_for_all() -> None:
    mine, shared = finding(), replace(finding("s"), host="*")
    assert spoken_for([mine, shared], "gpu-1", for_all=True) == (mine, shared)
    assert spoken_for([mine, shared], "gpu-1", for_all=False) == (mine,)
    book = after(Book(), [mine, shared], NOON)
    silent = observed(book, [mine], RULES, NOON + HOUR, host="gpu-1")
    assert not letter_of(silent, [mine], RULES, NOON + HOUR), "others tell that it is over"


LOOKS = st.lists(
    st.tuples(
        st.integers(1, 100), st.dictionaries(st.sampled_from("abc"), st.sampled_from(SEVERITIES))
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(looks=LOOKS, repeat=st.integers(1, 200), settle=st.integers(0, 50))
def test_whatever_happens_nothing_is_told_too_often_or_over_twice(
    looks: list[tuple[int, dict[str, str]]], repeat: int, settle: int
) -> None:
    rules = replace(RULES, repeat=repeat * MINUTE, settle=settle * MINUTE)
    book, at = Book(), NOON
    known: dict[str, tuple[datetime, str]] = {}
    for minutes, there in looks:
        at += minutes * MINUTE
        found = [finding(key, severity) for key, severity in there.items()]
        letter = told(book, found, at, rules)
        assert all(SEVERITIES.index(one.severity) >= 1 for one in (*letter.new, *letter.still))
        for one in letter.new:
            before = known.get(one.key)
            assert before is None or SEVERITIES.index(one.severity) > SEVERITIES.index(before[1])
        for one in letter.still:
            assert at - known[one.key][0] >= repeat * MINUTE
        for gone in letter.over:
            assert gone.finding.key not in there
            del known[gone.finding.key]
        for one in (*letter.new, *letter.still):
            known[one.key] = (at, one.severity)
        book = after(book, found, at, rules)
        for one in found:  # what was told and is now too light is forgotten without a word
            if one.severity == "info":
                known.pop(one.key, None)
        assert set(book.told) == set(known)
        wanted = {one.key for one in found if one.severity != "info"}
        assert wanted <= set(known), "nothing that is wrong is withheld"


@settings(max_examples=50, deadline=None)
@given(looks=LOOKS)
def test_a_restart_tells_nothing_again(
    looks: list[tuple[int, dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = BookStore(tmp_path_factory.getbasetemp() / "books" / "told.json")
    book, at = Book(), NOON
    for minutes, there in looks:
        at += minutes * MINUTE
        found = [finding(key, severity) for key, severity in there.items()]
        book = failed(after(book, found, at), "no", at)
        store.write({"chat": book})
        assert store.read() == {"chat": book}
        assert store.file.stat().st_mode & 0o777 == 0o600


def test_books_that_cannot_be_read_are_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "told.json"
    assert BookStore(file).read() == {}
    for text in ("", "[]", '{"format": 2}', '{"format": 1, "targets": {"a": {}}}'):
        file.write_text(text)
        assert BookStore(file).read() == {}


def test_letters_in_words() -> None:
    odd = replace(finding(), message="file \x1b[31m\u202ename\nsecond line")
    one = message_of(Letter(new=(odd,)), "gpu-1", NOON)
    assert "\x1b" not in one.text + one.title
    assert "\u202e" not in one.text + one.title
    assert "\n" not in one.title
    assert "next: look" in one.text
    book = after(Book(), [finding("b")], NOON)
    over = message_of(told(book, [], NOON + HOUR), "gpu-1", NOON + HOUR)
    assert over.title == "[resolved] gpu-1: over: b is late"
    many = [finding(f"f{number}") for number in range(100)]
    long = message_of(Letter(new=tuple(many)), "gpu-1", NOON)
    assert "100 new" in long.title
    assert "and 70 more" in long.text


def test_every_kind_of_finding_can_be_weighed() -> None:
    sources = Path(__file__).parents[3] / "src/llmvault/schedule"
    text = "\n".join(file.read_text() for file in sources.glob("*.py"))
    for kind in FINDING_KINDS:
        assert f'"{kind}"' in text, f"{kind} is in no module of the scheduler"
