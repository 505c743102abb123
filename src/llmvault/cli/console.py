"""rich's console as llmvault uses it; apart from output.py because rich is slow to import."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class PipeConsole(Console):
    """Lets a broken pipe be seen by the program, which exits quietly with a code of its own."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise the BrokenPipeError that is being handled."""
        raise
