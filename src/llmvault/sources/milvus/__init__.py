"""Milvus: a milvus-lite database directory, or a running server."""

from llmvault.sources.milvus.store import MilvusStore

__all__ = ["MilvusStore"]
