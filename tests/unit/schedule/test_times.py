"""When jobs are due: time zones, clocks put forward and back, jitter, windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as some

from llmvault.schedule.model import Job, Window
from llmvault.schedule.times import count_between, first_times, latest, may_start, next_after, opens
from tests.fakes.jobs import job

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_a_time_that_the_clock_leaps_over_happens_once() -> None:
    nightly = job("30 2 * * *", zone=BERLIN)
    assert first_times(nightly, utc(3, 27, 12), 3) == (
        utc(3, 28, 1, 30),
        utc(3, 29, 1, 30),  # 03:30 in Berlin: 02:30 does not exist that day
        utc(3, 30, 0, 30),
    )


def test_a_time_that_is_there_twice_happens_once() -> None:
    nightly = job("30 2 * * *", zone=BERLIN)
    assert first_times(nightly, utc(10, 24, 12), 2) == (utc(10, 25, 0, 30), utc(10, 26, 1, 30))


def test_what_happens_every_hour_does_so_when_clocks_change() -> None:
    hourly = job("30 * * * *", zone=BERLIN)
    for start in (utc(3, 28, 22), utc(10, 24, 22)):
        times = first_times(hourly, start, 8)
        assert {b - a for a, b in pairwise(times)} == {timedelta(hours=1)}


def test_an_interval_goes_by_the_same_times_after_a_restart() -> None:
    often = job(every=timedelta(hours=6))
    assert next_after(often, utc(5, 1, 7)) == utc(5, 1, 12)
    assert latest(often, utc(5, 1, 7)) == utc(5, 1, 6)
    assert count_between(often, utc(5, 1, 0), utc(5, 2, 0)) == 3


def test_jitter_is_the_same_each_time_and_differs_between_hosts() -> None:
    first = job("0 2 * * *", jitter=timedelta(hours=1))
    times = first_times(first, utc(5, 1, 0), 3)
    assert {b - a for a, b in pairwise(times)} == {timedelta(days=1)}
    hosts = [job("0 2 * * *", jitter=timedelta(hours=1), owner=f"gpu-{n}") for n in range(50)]
    starts = {next_after(one, utc(5, 1, 0)) for one in hosts}
    assert len(starts) == 50
    assert all(at and utc(5, 1, 2) <= at < utc(5, 1, 3) for at in starts)


JOBS = [
    job("30 2 * * *", zone=BERLIN),
    job("*/7 * * * *", zone=BERLIN),
    job("0 3 1 * mon", zone=ZoneInfo("America/New_York"), jitter=timedelta(minutes=90)),
    job(every=timedelta(minutes=95), jitter=timedelta(minutes=40)),
]


@given(
    some.sampled_from(JOBS),
    some.timedeltas(timedelta(), timedelta(days=730)).map(lambda more: utc(1, 1, 0) + more),
)
def test_next_and_last_agree(one: Job, moment: datetime) -> None:
    after, before = next_after(one, moment), latest(one, moment)
    assert after is not None
    assert before is not None
    assert before <= moment < after
    assert next_after(one, before) == after
    assert latest(one, after) == after


def test_windows_open_and_close_also_past_midnight() -> None:
    night = Window(22 * 60, 6 * 60, frozenset({4}), ZoneInfo("UTC"))  # begins on Fridays
    inside, outside = job("0 * * * *", only_in=(night,)), job("0 * * * *", never_in=(night,))
    friday, saturday = utc(5, 1, 23), utc(5, 2, 5)
    for moment, expected in ((friday, True), (saturday, True), (utc(5, 2, 23), False)):
        assert may_start(inside, moment) is expected
        assert may_start(outside, moment) is not expected
    assert opens(inside, utc(5, 2, 6)) == utc(5, 8, 22)
    assert opens(outside, friday) == utc(5, 2, 6)
    always = Window(0, 0, EVERY_DAY, ZoneInfo("UTC"))
    assert opens(job("0 * * * *", never_in=(always,)), friday) is None
