"""FAISS indexes with what belongs to them."""

from llmvault.sources.faiss.store import FaissIndexes

__all__ = ["FaissIndexes"]
