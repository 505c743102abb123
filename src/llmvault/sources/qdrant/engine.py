"""What is asked of an open Qdrant, wherever it runs: on a server, or in a process of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from llmvault.sources.interface import Point
from llmvault.sources.qdrant.words import Settings


class Engine(Protocol):
    """Collections and points, in Qdrant's own ids and words."""

    def collections(self) -> Mapping[str, Settings]:
        """Return name -> settings of every collection."""

    def aliases(self) -> Mapping[str, str]:
        """Return alias -> collection."""

    def count(self, name: str) -> int:
        """Return how many points there are, counted exactly."""

    def page(self, name: str, start: str | None, limit: int) -> tuple[list[Point], str | None]:
        """Return points in the order of their ids, integers before UUIDs, and where to go on.

        Args:
            start: the first id that may be in it; None for the very first.
        """

    def some(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids; absent ones are left out."""

    def nearest(self, name: str, using: str, vector: Sequence[float], k: int) -> list[str]:
        """Return the ids of the k nearest points, nearest first, compared one by one."""

    def create(self, name: str, settings: Settings, aliases: Sequence[str]) -> None:
        """Make a collection."""

    def put(self, name: str, points: Sequence[Point]) -> None:
        """Write points."""

    def settle(self, name: str) -> None:
        """Wait until what was written is on disk and indexed."""

    def drop(self, name: str) -> None:
        """Remove a collection."""
