"""Cron expressions, as crontab(5) reads them. Pure.

Five fields (minute, hour, day of month, month, day of week) with ``*``, lists, ranges, steps and
English names; Sunday is 0 or 7; when both days are restricted, either is enough. ``@hourly``,
``@daily``, ``@weekly``, ``@monthly`` and ``@yearly`` are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")


@dataclass(frozen=True, slots=True)
class Cron:
    """When something happens.

    Attributes:
        minutes, hours: in order.
        weekdays: 0 is Sunday.
        any_day, any_weekday: whether the field is not restricted.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @property
    def every_hour(self) -> bool:
        """Whether it goes by elapsed time rather than by the clock on the wall."""
        return len(self.hours) == 24

    def on(self, day: date) -> bool:
        """Whether it happens on a day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def parse_cron(text: str) -> Cron:
    """Return what a cron expression says.

    Raises:
        ValueError: when it is none, or names a day that no month has.
    """
    fields = _ALIASES.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise ValueError(
            f'"{text}" has {len(fields)} fields; write minute hour day month weekday, '
            'for example "30 2 * * *"'
        )
    cron = Cron(
        minutes=tuple(sorted(_numbers(fields[0], 0, 59, "minute"))),
        hours=tuple(sorted(_numbers(fields[1], 0, 23, "hour"))),
        days=_numbers(fields[2], 1, 31, "day"),
        months=_numbers(fields[3], 1, 12, "month", _MONTHS, first=1),
        weekdays=frozenset(number % 7 for number in _numbers(fields[4], 0, 7, "weekday", WEEKDAYS)),
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
    )
    longest = max(_LONGEST_MONTH[month - 1] for month in cron.months)
    if min(cron.days) > longest and (cron.any_day or cron.any_weekday):
        raise ValueError(f'"{text}" never happens: none of its months has a day {min(cron.days)}')
    return cron


def _numbers(
    field: str, low: int, high: int, what: str, names: tuple[str, ...] = (), *, first: int = 0
) -> frozenset[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f'"{part}" is no {what}')
        start, end, step = match[1], match[2], int(match[3] or 1)
        begin = low if start == "*" else _number(start, what, names, first)
        last = _last(end, begin, high, open_end=start == "*" or match[3] is not None)
        stop = last if isinstance(last, int) else _number(last, what, names, first)
        if not low <= begin <= stop <= high or step < 1:
            raise ValueError(f'"{part}" is no {what}: it goes from {low} to {high}')
        found.update(range(begin, stop + 1, step))
    return frozenset(found)


def _last(end: str | None, begin: int, high: int, *, open_end: bool) -> int | str:
    if end is not None:
        return end
    return high if open_end else begin


def _number(word: str, what: str, names: tuple[str, ...], first: int) -> int:
    if word in names:
        return names.index(word) + first
    if not word.isdigit():
        raise ValueError(f'"{word}" is no {what}')
    return int(word)
