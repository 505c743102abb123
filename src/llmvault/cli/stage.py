"""How far a task has come, in words; bars and lines tell the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmvault.core.units import format_seconds, format_size


@dataclass(slots=True)
class Stage:
    """How far one task has come.

    Attributes:
        total: bytes; None when unknown.
        began: on the monotonic clock, as is `told`.
        told: when the task was last shown.
    """

    total: int | None
    began: float
    told: float
    done: int = 0

    def amount(self) -> str:
        """Return the bytes done, of how many when that is more; empty when none were reported."""
        if self.total is not None and 0 < self.done < self.total:
            return f"{format_size(self.done)} of {format_size(self.total)}"
        return format_size(self.done) if self.done else ""

    def outlook(self, now: float) -> str:
        """Return rate and time left, as far as they can be told."""
        elapsed = now - self.began
        if not self.done or elapsed <= 0:
            return ""
        rate = self.done / elapsed
        told = f"{format_size(rate)}/s"
        if self.total is None or self.total < self.done:
            return told
        return f"{told}  {format_seconds(round((self.total - self.done) / rate))} left"


def finished_line(task: str, stage: Stage, now: float, note: str) -> str:
    """Return what remains of a task: ``models  88.3 MiB  12.1 s``."""
    return join(task, stage.amount(), format_seconds(now - stage.began), note)


def join(*parts: str) -> str:
    """Return the parts that are not empty, two spaces apart."""
    return "  ".join(part for part in parts if part)
