"""Calendar spans."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.spans import Span, parse_span
from llmvault.core.units import parse_time


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("7y", Span(years=7)),
        ("1y6mo", Span(years=1, months=6)),
        ("2w", Span(days=14)),
        ("1w3d", Span(days=10)),
        ("36h", Span(hours=36)),
        (" 1d 12h ", Span(days=1, hours=12)),
    ],
)
def test_reads(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "7", "7m", "1.5d", "-1d", "d", "0d", "7 years", "99999999y"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"span|no time|too long"):
        parse_span(text)


@pytest.mark.parametrize(
    ("moment", "span", "before"),
    [
        ("2026-10-31T00:00:00Z", "1mo", "2026-10-01T00:00:00Z"),
        ("2024-02-29T00:00:00Z", "1y", "2023-03-01T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "1mo", "2025-12-15T00:00:00Z"),
        ("2026-03-01T00:00:00Z", "1d", "2026-02-28T00:00:00Z"),
        ("2026-01-01T06:00:00Z", "36h", "2025-12-30T18:00:00Z"),
    ],
)
def test_counts_back_over_calendars(moment: str, span: str, before: str) -> None:
    assert parse_span(span).before(parse_time(moment)) == parse_time(before)


spans = st.builds(
    Span, st.integers(0, 50), st.integers(0, 50), st.integers(0, 5000), st.integers(0, 5000)
).filter(lambda span: span != Span())


@given(spans)
def test_writes_what_it_reads(span: Span) -> None:
    assert parse_span(str(span)) == span


@given(spans)
def test_never_fails_however_long(span: Span) -> None:
    assert span.before(datetime(3, 1, 1, tzinfo=UTC)) <= datetime(3, 1, 1, tzinfo=UTC)
