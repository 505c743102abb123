"""Chroma: a PersistentClient directory, or a running server."""

from llmvault.sources.chroma.store import ChromaStore

__all__ = ["ChromaStore"]
