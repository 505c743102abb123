"""This host's clock against the server's. Pure."""

from __future__ import annotations

from llmvault.core.errors import RefusedError
from llmvault.core.units import format_seconds

SKEW_SECONDS = 300.0


def refuse_skew(thing: str, skew: float | None) -> None:
    """Refuse to work with dates when this host's clock and the server's differ.

    Args:
        skew: the server's clock minus ours, in seconds; None when it did not tell.

    Raises:
        RefusedError: a lock set by a wrong clock would be too short, or too long and final.
    """
    if skew is not None and abs(skew) > SKEW_SECONDS:
        way = "behind" if skew > 0 else "ahead of"
        raise RefusedError(
            thing,
            f"this host's clock is {format_seconds(abs(skew))} {way} the server's",
            "set the clock right (chrony, systemd-timesyncd), then run it again",
        )
