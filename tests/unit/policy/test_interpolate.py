"""Environment variables in policy text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.policy.interpolate import interpolate

ENVIRONMENT = {"NAME": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${NAME}", "value"),
        ("a-${NAME}-b-${NAME}", "a-value-b-value"),
        ("${ABSENT:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${ABSENT:-}", ""),
        ("${ABSENT:-a b:/c?d=e}", "a b:/c?d=e"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("costs $5, $NAME", "costs $5, $NAME"),
    ],
)
def test_replaces_references(text: str, expected: str) -> None:
    done = interpolate(text, ENVIRONMENT)
    assert done.text == expected
    assert not done.errors


def test_names_each_variable_once() -> None:
    assert interpolate("${NAME}${ABSENT:-x}${NAME}", ENVIRONMENT).variables == ("NAME", "ABSENT")


def test_unset_variable_is_an_error_with_the_next_step() -> None:
    [error] = interpolate("${ABSENT}", ENVIRONMENT).errors
    assert "ABSENT is not set" in error
    assert "${ABSENT:-default}" in error


@pytest.mark.parametrize("text", ["${", "${NAME", "${NAME:?message}", "${1}", "${}", "${a-b}"])
def test_what_is_no_reference_is_an_error_and_stays(text: str) -> None:
    done = interpolate(text, ENVIRONMENT)
    assert done.text == text
    assert len(done.errors) == 1


@given(st.text())
def test_doubled_dollars_give_the_text_back(text: str) -> None:
    done = interpolate(text.replace("$", "$$"), {})
    assert done.text == text
    assert not done.errors
    assert not done.variables


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="$")))
def test_values_are_not_interpolated_again(value: str, around: str) -> None:
    assert interpolate(around + "${X}", {"X": value}).text == around + value


def test_a_value_that_is_no_text_is_an_error() -> None:
    [error] = interpolate("${RAW}", {"RAW": "a\udcff"}).errors
    assert "RAW is not UTF-8 text" in error
