"""What does not leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.evidence.withhold import cleaned, is_clean, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anna.meier@example.org", "(address withheld)"),
        ("sftp:anna@backup.example.org:/srv", "sftp:(address withheld):/srv"),
        ("/home/anna/models", "/home/(withheld)/models"),
        ("s3:https://key:hush@s3.example.org/b", "s3:https://key:***@s3.example.org/b"),
        ("plan nightly", "plan nightly"),
        ("env:RESTIC_PASSWORD", "env:RESTIC_PASSWORD"),
    ],
)
def test_texts_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert is_clean(text) == (text == shown)


def test_free_text_of_policies_is_counted_not_shown() -> None:
    policy = {
        "goldens": {"answers": {"prompts": ["who is Anna?", "and Bert?"], "max_tokens": 8}},
        "hosts": {"texts": ["one"], "queries": []},
    }
    assert cleaned(policy) == {
        "goldens": {"answers": {"prompts": "(2 texts withheld)", "max_tokens": 8}},
        "hosts": {"texts": "(text withheld)", "queries": []},
    }


@given(st.text())
def test_what_was_masked_is_clean(text: str) -> None:
    assert "@" not in text or is_clean(masked(masked(text)))
