"""Durations, sizes as policies write them, and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.units import (
    format_seconds,
    format_size,
    format_time,
    parse_duration,
    parse_size,
    parse_time,
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(list(UNITS))), min_size=1))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    expected = timedelta(seconds=sum(count * UNITS[unit] for count, unit in parts))
    assert parse_duration("".join(f"{count}{unit}" for count, unit in parts)) == expected
    assert parse_duration(" ".join(f"{count} {unit}" for count, unit in parts)) == expected


@pytest.mark.parametrize("text", ["", " ", "5", "m", "1h30", "-1h", "1y", "1.h", "1h,2m", "one"])
def test_other_texts_are_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_may_have_a_fraction() -> None:
    assert parse_duration("1.5h") == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512", 512),
        ("64MiB", 64 << 20),
        ("64 Mi", 64 << 20),
        ("2 GB", 2 * 10**9),
        ("1.5K", 1500),
        (" 1TiB ", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 PB", "1,5K", "0x10", "1 KIB"])
def test_other_texts_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 50))
def test_a_formatted_size_reads_back_within_half_a_percent(count: int) -> None:
    assert parse_size(format_size(count)) == pytest.approx(count, rel=0.006, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4219, "0.422 s"),
        (12.34, "12.3 s"),
        (59.4, "59.4 s"),
        (245, "4m 05s"),
        (3599.7, "1h 00m"),
        (11_220, "3h 07m"),
        (187_200, "2d 4h"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


aware = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001
    max_value=datetime(2999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(aware)
def test_times_are_written_in_utc_and_read_back_to_the_millisecond(moment: datetime) -> None:
    text = format_time(moment)
    assert text.endswith("Z")
    assert text[10] == "T"
    back = parse_time(text)
    assert back.tzinfo is UTC
    assert timedelta(0) <= moment - back < timedelta(milliseconds=1)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_time("2026-01-02T03:04:05")


@pytest.mark.parametrize("text", ["", "now", "2026-13-01T00:00:00Z"])
def test_other_texts_are_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)
