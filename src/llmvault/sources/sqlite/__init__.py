"""SQLite database files, with or without sqlite-vec."""

from llmvault.sources.sqlite.store import SqliteDatabase

__all__ = ["SqliteDatabase"]
