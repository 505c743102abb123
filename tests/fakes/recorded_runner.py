"""A runner that answers from a record, and remembers what it was asked to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, Completed, Process


@dataclass(frozen=True)
class Answer:
    """What a program printed and how it ended."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


@dataclass
class RecordedRunner:
    """Answers commands by their beginning, the longest that fits; others succeed silently.

    Attributes:
        answers: beginning of a command line -> its answers, used up one after the other; the last
            one is kept. None stands for a program that is not installed.
        asked: the command lines that were run.
    """

    answers: Mapping[str, list[Answer] | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        """Answer from the record."""
        assert timeout is not None, "a command of a filesystem may hang"
        line = " ".join(command.argv)
        self.asked.append(line)
        fitting = [beginning for beginning in self.answers if line.startswith(beginning)]
        found = self.answers[max(fitting, key=len)] if fitting else [Answer()]
        if found is None:
            raise UnavailableError(command.argv[0], "is not installed or not on PATH", "install it")
        answer = found.pop(0) if len(found) > 1 else found[0]
        return Completed(command.argv, answer.exit_code, answer.stdout, answer.stderr)

    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        """Not recorded."""
        raise NotImplementedError
