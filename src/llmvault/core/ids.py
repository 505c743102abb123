"""Identifiers: sortable by time, unique by random bits; the only module that draws them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Protocol


class Ids(Protocol):
    """Draws identifiers."""

    def new(self, prefix: str, now: datetime) -> str:
        """Return ``PREFIX-YYYYmmddTHHMMSSZ-xxxxxx``: sortable by time, safe in paths and tags."""

    def token(self) -> str:
        """Return 16 random hex digits, for names that must not be guessed or reused."""

    def choose(self, count: int) -> int:
        """Return a random number from 0 to `count` - 1."""


class RandomIds:
    """Identifiers with random bits of the operating system."""

    def new(self, prefix: str, now: datetime) -> str:
        """Return ``PREFIX-YYYYmmddTHHMMSSZ-xxxxxx``: sortable by time, safe in paths and tags."""
        return f"{prefix}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"

    def token(self) -> str:
        """Return 16 random hex digits, for names that must not be guessed or reused."""
        return secrets.token_hex(8)

    def choose(self, count: int) -> int:
        """Return a random number from 0 to `count` - 1."""
        return secrets.randbelow(count)
