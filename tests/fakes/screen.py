"""A terminal that remembers what is on it."""

from __future__ import annotations

import io
import re

_PIECE = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)|(\x1b.?)")


class Screen(io.StringIO):
    """A stream that calls itself a terminal and can be looked at.

    Knows what progress bars use: carriage return, line feed, cursor up, erase line, show and hide
    the cursor. Anything else is an error, so that a test sees it.
    """

    def isatty(self) -> bool:
        """Claim to be a terminal."""
        return True

    @property
    def drawn(self) -> str:
        """All that was ever written, control sequences included."""
        return self.getvalue()

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, without empty lines."""
        rows, row, column = [""], 0, 0
        for number, command, back, feed, text, stray in _PIECE.findall(self.getvalue()):
            if stray or (command and (number, command) not in _KNOWN):
                raise ValueError(f"unexpected control sequence {(number, command, stray)!r}")
            if text:
                rows[row] = (
                    rows[row][:column].ljust(column) + text + rows[row][column + len(text) :]
                )
                column += len(text)
            elif back:
                column = 0
            elif feed:
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif command == "A":
                row = max(0, row - int(number))
            elif command == "K":
                rows[row] = ""
        return [line.rstrip() for line in rows if line.strip()]


_KNOWN = {("1", "A"), ("2", "K"), ("?25", "l"), ("?25", "h")}
