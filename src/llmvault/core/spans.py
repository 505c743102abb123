"""Calendar spans, as retention rules are written: ``7y``, ``6mo``, ``4w``, ``10d``, ``36h``.

Unlike a duration, a span knows years and months, whose length depends on where they begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_PART = re.compile(r"(\d+)(y|mo|w|d|h)")
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """Years, months, days and hours; weeks are written as days."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "mo"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{count}{unit}" for count, unit in parts if count) or "0h"

    def before(self, moment: datetime) -> datetime:
        """Return the time this long before an aware UTC time.

        A day that the month does not have runs on into the next month (one month before the 31st of
        October is the 1st of October), as in restic, whose rules ours must agree with.
        """
        months = moment.year * 12 + (moment.month - 1) - self.years * 12 - self.months
        year, month = divmod(months, 12)
        if year < 1:
            return _BEGINNING
        first = moment.replace(year=year, month=month + 1, day=1)
        try:
            return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except OverflowError:
            return _BEGINNING


def parse_span(text: str) -> Span:
    """Return the span of a text such as ``7y``, ``1y6mo``, ``4w`` or ``36h``.

    Raises:
        ValueError: when the text is not a sequence of whole numbers with a unit y, mo, w, d or h,
            or when it is nothing.
    """
    compact = text.replace(" ", "")
    if not compact or _PART.sub("", compact):
        raise ValueError(f"{text!r} is not a span; write for example 7y, 6mo, 4w, 10d or 36h")
    counts = dict.fromkeys(("y", "mo", "w", "d", "h"), 0)
    for number, unit in _PART.findall(compact):
        counts[unit] += int(number)
    span = Span(counts["y"], counts["mo"], counts["w"] * 7 + counts["d"], counts["h"])
    if span == Span():
        raise ValueError(f"{text!r} is no time at all")
    if max(span.years, span.months, span.days, span.hours) > 10_000_000:
        raise ValueError(f"{text!r} is too long a time")
    return span
