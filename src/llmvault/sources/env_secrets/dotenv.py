"""Files of ``NAME=value`` lines, as ``.env`` files and systemd's ``EnvironmentFile=`` have them.

Pure. What the readers of such files disagree on (escapes, expansion) does not matter here: a value
is only compared with itself, as it is written, without the quotes around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ASSIGNMENT = re.compile(rb"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_SKIPPED = re.compile(rb"[ \t\r]*(?:[#;][^\n]*)?(?:\n|\Z)")
_PLAIN = re.compile(rb"(?:[^\n\\]|\\[\s\S]|\\\Z)*")
_SINGLE = re.compile(rb"'([^']*)'")
_DOUBLE = re.compile(rb'"((?:[^"\\]|\\[\s\S])*)"')


@dataclass(frozen=True, slots=True)
class Assignments:
    """What a file says.

    Attributes:
        values: name -> value; the last one of a name holds.
        repeated: names that are assigned more than once.
        unread: numbers of lines that are neither assignments nor comments, from 1.
    """

    values: Mapping[str, bytes]
    repeated: tuple[str, ...] = ()
    unread: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Assignments({', '.join(sorted(self.values))})"


def parse_assignments(content: bytes) -> Assignments:
    """Return the assignments of a file; nothing raises, and no value is ever part of a message."""
    values: dict[str, bytes] = {}
    repeated: list[str] = []
    unread: list[int] = []
    position = 0
    while position < len(content):
        if skipped := _SKIPPED.match(content, position):
            position = max(skipped.end(), position + 1)
            continue
        assignment = _ASSIGNMENT.match(content, position)
        value, end = _value(content, assignment.end()) if assignment else (b"", -1)
        if assignment is None or end < 0:
            unread.append(content.count(b"\n", 0, position) + 1)
            end = content.find(b"\n", position)
            position = len(content) if end < 0 else end + 1
            continue
        name = assignment[1].decode("ascii")
        if name in values:
            repeated.append(name)
        values[name] = value
        position = end
    return Assignments(values, tuple(dict.fromkeys(repeated)), tuple(unread))


def _value(content: bytes, position: int) -> tuple[bytes, int]:
    """Return a value and where its line ends; -1 when a quote is not closed."""
    for quote, pattern in ((b"'", _SINGLE), (b'"', _DOUBLE)):
        if content.startswith(quote, position):
            quoted = pattern.match(content, position)
            rest = _SKIPPED.match(content, quoted.end()) if quoted else None
            if quoted and rest:
                return quoted[1], rest.end()
            if quoted is None:
                return b"", -1
    plain = _PLAIN.match(content, position)
    end = plain.end() if plain else position
    return content[position:end].strip(), end
