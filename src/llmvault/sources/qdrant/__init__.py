"""Qdrant: a running server or cluster, or a directory of Qdrant Edge shards."""

from llmvault.sources.qdrant.store import QdrantStore

__all__ = ["QdrantStore"]
