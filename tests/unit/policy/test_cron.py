"""Cron expressions mean what crontab(5) says."""

from __future__ import annotations

from datetime import date

import pytest

from llmvault.policy.cron import parse_cron


def test_fields_lists_ranges_steps_and_names() -> None:
    cron = parse_cron("*/20 1-3,22 1,15 jan-mar,12 *")
    assert (cron.minutes, cron.hours) == ((0, 20, 40), (1, 2, 3, 22))
    assert set(cron.days) == {1, 15}
    assert set(cron.months) == {1, 2, 3, 12}
    assert parse_cron("5/20 * * * *").minutes == (5, 25, 45)
    assert parse_cron("@weekly") == parse_cron("0 0 * * sun")


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_sunday_is_zero_and_seven(sunday: str) -> None:
    cron = parse_cron(f"0 0 * * {sunday}")
    assert [cron.on(date(2026, 5, day)) for day in (3, 4)] == [True, False]


def test_either_of_two_restricted_days_is_enough() -> None:
    cron = parse_cron("0 0 1 * mon")
    assert [cron.on(date(2026, 5, day)) for day in (1, 4, 5)] == [True, True, False]
    assert not parse_cron("0 0 1 * *").on(date(2026, 5, 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30 2 * *", "4 fields"),
        ("60 2 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "weekday"),
        ("0 0 * * someday", "weekday"),
        ("0 5-2 * * *", "hour"),
        ("*/0 * * * *", "minute"),
        ("0 0 30 2 *", "never happens"),
        ("0 0 31 4,6,9,11 *", "never happens"),
        ("", "0 fields"),
    ],
)
def test_what_is_wrong_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_cron(text)


def test_a_leap_day_happens() -> None:
    assert parse_cron("0 0 29 2 *").on(date(2028, 2, 29))
