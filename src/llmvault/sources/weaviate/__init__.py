"""Collections of Weaviate, captured by its backup API."""

from llmvault.sources.weaviate.store import WeaviateCollections

__all__ = ["WeaviateCollections"]
