"""What is wrong in policy files: every problem at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import PolicyError
from llmvault.policy.tree import Keys, Place, dotted


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: absolute path.
        line: counted from 1; 0 when the file as a whole is meant.
        column: counted from 1; 0 as for line.
        path: where in the policy, e.g. ``sources.minilm.path``; empty for the whole file.
        message: what is wrong and what to do about it; never shows a secret.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"

    def as_json(self) -> dict[str, str | int]:
        """Return it as JSON values."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
        }


class PolicyFilesError(PolicyError):
    """The policy files are wrong; carries every problem, in the order of the files."""

    def __init__(self, directory: Path, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(set(problems), key=lambda one: (one.file, one.line, one.column, one.message))
        )
        count = len(self.problems)
        super().__init__(
            f"policy {directory}",
            "1 problem" if count == 1 else f"{count} problems",
            "correct the files, then run llmvault policy validate",
        )

    def diagnostics(self) -> str:
        """Return the summary and a line per problem."""
        summary, _, next_step = super().diagnostics().partition("\n")
        return "\n".join([summary, *map(str, self.problems), next_step])


def problem(place: Place, keys: Keys, message: str) -> Problem:
    """Return a problem at a place."""
    return Problem(str(place.file), place.line, place.column, dotted(keys), message)


def file_problem(file: Path, message: str) -> Problem:
    """Return a problem of a file as a whole."""
    return Problem(str(file), 0, 0, "", message)
