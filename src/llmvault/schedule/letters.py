"""What is told, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from llmvault.core.units import format_time
from llmvault.notify.model import Message
from llmvault.schedule.model import Finding
from llmvault.schedule.telling import Letter, Told

_MOST_LISTED = 30
_TITLE = 110


def message_of(letter: Letter, host: str, now: datetime) -> Message:
    """Return a letter as people read it; what findings quote is made visible."""
    parts = [
        *_listed("New", [_lines(one) for one in letter.new]),
        *_listed("Still so", [_lines(one) for one in letter.still]),
        *_listed("Over", [_over(one) for one in letter.over]),
        *_listed("Done", [_lines(one) for one in letter.events]),
    ]
    text = "\n".join([*parts, f"told by llmvault on {host} at {format_time(now)}", ""])
    return Message(format_time(now), _title(letter, host), text, letter.severity)


def trial_message(target: str, host: str, now: datetime) -> Message:
    """Return what is sent to try a target."""
    text = (
        f"This is a test: {target} is told things by llmvault on {host}.\n"
        "Nothing is wrong, and nothing needs to be done.\n"
    )
    return Message(format_time(now), f"llmvault on {host}: test", text)


def readable(text: str) -> str:
    """Return text in which nothing is invisible: what does not print becomes an escape."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def _title(letter: Letter, host: str) -> str:
    told = (*letter.new, *letter.still, *letter.events)
    if len(told) == 1 and not letter.over:
        words = told[0].message
    elif len(letter.over) == 1 and not told:
        words = f"over: {letter.over[0].finding.message}"
    else:
        counts = {
            "new": letter.new,
            "still so": letter.still,
            "over": letter.over,
            "done": letter.events,
        }
        words = ", ".join(f"{len(found)} {name}" for name, found in counts.items() if found)
    title = " ".join(readable(f"[{letter.severity}] {host}: {words}").split())
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _listed(heading: str, blocks: list[list[str]]) -> Iterator[str]:
    if not blocks:
        return
    yield heading
    for block in blocks[:_MOST_LISTED]:
        yield from block
    if len(blocks) > _MOST_LISTED:
        yield f"  and {len(blocks) - _MOST_LISTED} more: llmvault status"
    yield ""


def _lines(finding: Finding) -> list[str]:
    """Return a finding as lines."""
    first, *rest = _wrapped(finding.message)
    lines = [f"  {finding.severity}: {first}", *(f"    {line}" for line in rest)]
    if finding.next_step:
        lines.append(f"    next: {readable(finding.next_step)}")
    return lines


def _over(told: Told) -> list[str]:
    first = readable(told.finding.message).splitlines()[0]
    return [f"  {first}", f"    it was told first at {format_time(told.first)}"]


def _wrapped(text: str) -> list[str]:
    return readable(text).splitlines() or [""]


def plain(findings: Iterable[Finding]) -> str:
    """Return findings as lines of text."""
    return "\n".join(line for finding in findings for line in _lines(finding))
