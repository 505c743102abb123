"""A clock that sleeps without waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class SteppingClock:
    """Starts at the given time; only sleeping moves it.

    Attributes:
        on_sleep: called after each sleep with the seconds slept.
        slept: seconds of each sleep.
    """

    start: datetime = field(default_factory=lambda: datetime.now(UTC))
    on_sleep: Callable[[float], None] | None = None
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the start and what was slept since."""
        return self.start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the seconds slept."""
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        if self.on_sleep is not None:
            self.on_sleep(seconds)
