"""Sizes as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.units import format_size

MIB = 1 << 20


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (88.3 * MIB, "88.3 MiB"),
        (999.7 * MIB, "1000 MiB"),
        (1010 * MIB, "1010 MiB"),
        (2000 << 40, "2000 TiB"),
    ],
)
def test_a_size_has_three_significant_digits_or_more(count: float, text: str) -> None:
    assert format_size(count) == text


@given(st.integers(0, 1 << 60))
def test_no_size_is_written_with_a_power_of_ten(count: int) -> None:
    assert "e" not in format_size(count)
