"""Durations, byte sizes and UTC times, as people and policies write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_SIZES = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SIZES |= {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|[KMGT]i?)B?")


def parse_duration(text: str) -> timedelta:
    """Return the duration of a text such as ``15m``, ``24h``, ``1h30m`` or ``7d``.

    Raises:
        ValueError: when the text is not a sequence of numbers with a unit s, m, h, d or w.
    """
    compact = text.replace(" ", "")
    if not compact or _DURATION.sub("", compact):
        raise ValueError(f"{text!r} is not a duration; write for example 15m, 24h, 1h30m or 7d")
    return timedelta(
        seconds=sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(compact))
    )


def parse_size(text: str) -> int:
    """Return the number of bytes of a text such as ``64MiB``, ``2 GB`` or ``512``.

    Raises:
        ValueError: when the text is not a number with an optional unit.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 64MiB, 2GB or 512")
    return int(float(match[1]) * _SIZES[match[2]])


def format_size(count: float) -> str:
    """Return a byte count for people, in binary units with three significant digits or more."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{_figures(count)} {unit}"
        count /= 1024
    return f"{_figures(count)} TiB"


def _figures(count: float) -> str:
    return f"{count:.0f}" if abs(count) >= 100 else f"{count:.3g}"


def format_seconds(seconds: float) -> str:
    """Return seconds for people: ``0.42 s``, ``12.3 s``, ``4m 05s``, ``3h 07m``, ``2d 4h``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    return f"{hours // 24}d {hours % 24}h"


def format_time(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, e.g. ``2026-01-02T03:04:05.678Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the aware UTC time of an RFC 3339 text.

    Raises:
        ValueError: when the text is no RFC 3339 time with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)
