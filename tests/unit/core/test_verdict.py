"""How verdicts combine: what could not be checked never turns green."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.verdict import Verdict, combine

verdicts = st.lists(st.sampled_from(Verdict))


@given(verdicts)
def test_the_whole_is_proven_only_when_every_part_is(parts: list[Verdict]) -> None:
    proven = bool(parts) and all(part is Verdict.PROVEN for part in parts)
    assert (combine(parts) is Verdict.PROVEN) == proven


@given(verdicts)
def test_one_failure_fails_the_whole(parts: list[Verdict]) -> None:
    assert (combine(parts) is Verdict.FAILED) == (Verdict.FAILED in parts)


@given(verdicts, verdicts)
def test_combining_in_steps_is_combining_at_once(one: list[Verdict], other: list[Verdict]) -> None:
    if one and other:
        assert combine([combine(one), combine(other)]) is combine([*one, *other])


def test_nothing_checked_is_unproven() -> None:
    assert combine([]) is Verdict.UNPROVEN


def test_exit_codes() -> None:
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "proven": 0,
        "failed": 1,
        "unproven": 3,
    }
