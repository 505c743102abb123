"""LanceDB database directories."""

from llmvault.sources.lancedb.store import LanceDatabase

__all__ = ["LanceDatabase"]
