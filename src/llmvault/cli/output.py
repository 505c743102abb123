"""What people and scripts read: the only module that prints.

Results go to standard output, remarks and errors to standard error. In JSON mode standard output
holds exactly one document, errors included. Off a terminal, a line of a table is one line of
output, whatever its length, so that ``grep`` and ``cut`` work on it.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from llmvault.core.errors import VaultError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINE_WIDTH_OFF_TERMINAL = 10_000
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}
CELL_STYLES = {
    "proven": "green",
    "failed": "bold red",
    "unproven": "yellow",
    "built-in default": "dim",
}


class Output:
    """One command's mouth.

    Args:
        json: print documents for programs instead of text for people.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json

    @cached_property
    def console(self) -> Console:
        """Standard output through rich, e.g. for a live progress bar."""
        return _console(sys.stdout)

    @cached_property
    def remarks(self) -> Console:
        """Standard error through rich."""
        return _console(sys.stderr)

    def emit_json(self, document: Mapping[str, Any]) -> None:
        """Print the one document of this run; does nothing outside JSON mode."""
        if self.json:
            _write(json.dumps(document, indent=2) + "\n")

    def write(self, text: str) -> None:
        """Print text as it is, in both modes: for a command whose result is a file."""
        _write(text)

    def show(self, *renderables: RenderableType) -> None:
        """Print rich renderables; plain strings are not searched for markup. Not in JSON mode."""
        if not self.json:
            self._print(self.console, renderables)

    def note(self, *renderables: RenderableType) -> None:
        """Print to standard error, in both modes: warnings, and what is going on."""
        self._print(self.remarks, renderables)

    def show_table(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Print a table of text cells; verdicts are coloured, defaults dimmed. Not in JSON mode."""
        if self.json:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
        )
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            cells = (printable(str(cell)).replace("\n", "\\n") for cell in row)
            table.add_row(*(Text(cell, style=CELL_STYLES.get(cell, "")) for cell in cells))
        self.show(table)

    def error(self, error: VaultError) -> None:
        """Print what went wrong: one document in JSON mode, diagnostics for people otherwise."""
        if self.json:
            self.emit_json(error_document(error))
            return
        from rich.text import Text

        lines = printable(error.diagnostics()).split("\n")
        self.note(Text.assemble(("error: ", "bold red"), lines[0]), *lines[1:])

    def _print(self, console: Console, renderables: Iterable[RenderableType]) -> None:
        for renderable in renderables:
            is_text = isinstance(renderable, str)  # long lines are the terminal's to break
            shown = printable(renderable) if isinstance(renderable, str) else renderable
            console.print(shown, markup=False, highlight=False, emoji=False, soft_wrap=is_text)


def error_document(error: VaultError) -> dict[str, Any]:
    """Return an error as the JSON document that every command prints for it.

    ``problems`` is there when the error carries several, each with its place in a file.
    """
    document: dict[str, Any] = {
        "thing": error.thing,
        "cause": error.cause,
        "next_step": error.next_step,
        "exit_code": error.exit_code,
    }
    problems = getattr(error, "problems", ())
    if problems:
        document["problems"] = [problem.as_json() for problem in problems]
    return {"error": document}


def printable(text: str) -> str:
    """Return text without what would drive a terminal: control characters become escapes."""
    return text.translate(_CONTROLS)


def prepare_streams() -> None:
    """Make every text printable whatever the locale: what a stream cannot encode is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reader_gone() -> bool:
    """Whether whoever read our standard output has stopped reading (``| head``)."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(state & select.POLLERR for _, state in poll.poll(0))


def forget_reader() -> None:
    """Send the rest of standard output nowhere, so that Python's own last flush is quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _console(stream: TextIO) -> Console:
    from llmvault.cli.console import PipeConsole

    return PipeConsole(file=stream, width=None if stream.isatty() else _LINE_WIDTH_OFF_TERMINAL)
