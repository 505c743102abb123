"""PostgreSQL databases, with or without pgvector."""

from llmvault.sources.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
