"""When a job is due. Pure.

A cron expression goes by the clock on the wall of its time zone. Where that clock is put forward, a
time that does not exist happens once, as long after midnight as it would have been; where it is put
back, a time that is there twice happens the first time only, unless it is one of every hour. An
interval goes by multiples since 1970, so that a restart moves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from llmvault.schedule.model import Job, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_DAYS_LOOKED_AT = 366 * 8 + 3
_MOST_COUNTED = 1000


def next_after(job: Job, moment: datetime) -> datetime | None:
    """Return the first time after a moment; None when there is none in eight years."""
    for nominal in _forward(job, moment - job.jitter):
        found = nominal + _offset(job, nominal)
        if found > moment:
            return found
    return None


def latest(job: Job, moment: datetime) -> datetime | None:
    """Return the last time that is not after a moment; None when there is none in eight years."""
    for nominal in _backward(job, moment):
        found = nominal + _offset(job, nominal)
        if found <= moment:
            return found
    return None


def count_between(job: Job, after: datetime, before: datetime) -> int:
    """Return how many times lie between two moments, counted up to 1000."""
    count, at = 0, next_after(job, after)
    while at is not None and at < before and count < _MOST_COUNTED:
        count, at = count + 1, next_after(job, at)
    return count


def may_start(job: Job, moment: datetime) -> bool:
    """Whether the job's windows allow a start."""
    if any(in_window(window, moment) for window in job.never_in):
        return False
    return not job.only_in or any(in_window(window, moment) for window in job.only_in)


def opens(job: Job, moment: datetime) -> datetime | None:
    """Return when a run due at a moment may start; None when no window opens within nine days."""
    if may_start(job, moment):
        return moment
    edges = sorted(
        edge
        for window in (*job.only_in, *job.never_in)
        for edge in _edges(window, moment)
        if edge > moment
    )
    return next((edge for edge in edges if may_start(job, edge)), None)


def _offset(job: Job, nominal: datetime) -> timedelta:
    """Return the job's share of its jitter: fixed, so that intervals stay what they are."""
    if not job.jitter:
        return timedelta()
    seed = hashlib.sha256(f"{job.owner}/{job.name}".encode()).digest()
    return job.jitter * (int.from_bytes(seed[:6], "big") / 2**48)


def _forward(job: Job, moment: datetime) -> Iterator[datetime]:
    if job.every is not None:
        turn = (moment - _EPOCH) // job.every
        while True:
            yield _EPOCH + job.every * turn
            turn += 1
    day = moment.astimezone(job.zone).date() - _DAY
    for number in range(_DAYS_LOOKED_AT):
        yield from _times_on(job, day + number * _DAY)


def _backward(job: Job, moment: datetime) -> Iterator[datetime]:
    if job.every is not None:
        turn = (moment - _EPOCH) // job.every
        yield from (_EPOCH + job.every * (turn - back) for back in range(_MOST_COUNTED))
        return
    day = moment.astimezone(job.zone).date() + _DAY
    for number in range(_DAYS_LOOKED_AT):
        yield from reversed(_times_on(job, day - number * _DAY))


def _times_on(job: Job, day: date) -> list[datetime]:
    """Return the times of one local day, in order."""
    cron = job.cron
    if cron is None or not cron.on(day):
        return []
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute), job.zone)
            found.add(local.astimezone(UTC))
            if cron.every_hour:
                found.add(local.replace(fold=1).astimezone(UTC))
    return sorted(found)


def in_window(window: Window, moment: datetime) -> bool:
    """Whether a moment is in a window."""
    local = moment.astimezone(window.zone)
    minute, weekday = local.hour * 60 + local.minute, local.weekday()
    if window.start < window.end:
        return weekday in window.days and window.start <= minute < window.end
    yesterday = (weekday - 1) % 7
    return (weekday in window.days and minute >= window.start) or (
        yesterday in window.days and minute < window.end
    )


def _edges(window: Window, moment: datetime) -> Iterator[datetime]:
    day = moment.astimezone(window.zone).date() - _DAY
    for number in range(10):
        for minute in (window.start, window.end):
            at = time(minute // 60, minute % 60)
            yield datetime.combine(day + number * _DAY, at, window.zone).astimezone(UTC)


def first_times(job: Job, moment: datetime, count: int) -> tuple[datetime, ...]:
    """Return the next times after a moment, for people."""

    def follow() -> Iterator[datetime]:
        at = next_after(job, moment)
        while at is not None:
            yield at
            at = next_after(job, at)

    return tuple(islice(follow(), count))
