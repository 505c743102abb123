"""A vector store in memory that searches exactly."""

from __future__ import annotations

from collections.abc import Mapping

from llmvault.core.errors import UnavailableError
from llmvault.sources.interface import CollectionFacts

Vector = tuple[float, ...]


class FakeStore:
    """Collections of record id -> vector; the nearest by dot product come first, then by id.

    Attributes:
        searches: every query so far, as (collection, vector, k).
    """

    def __init__(self, collections: Mapping[str, Mapping[str, Vector]]) -> None:
        self.collections = {name: dict(records) for name, records in collections.items()}
        self.searches: list[tuple[str, Vector, int]] = []

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count."""
        return tuple(
            CollectionFacts(name, len(records)) for name, records in self.collections.items()
        )

    def search(self, collection: str, vector: Vector, k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records."""
        self.searches.append((collection, vector, k))
        if collection not in self.collections:
            raise UnavailableError(f'collection "{collection}"', "does not exist")
        distances = [
            (-sum(a * b for a, b in zip(vector, known, strict=True)), name)
            for name, known in self.collections[collection].items()
        ]
        return tuple(name for _, name in sorted(distances)[:k])
