"""Redis: a running server, captured as the RDB file of a background save."""

from llmvault.sources.redis.store import RedisStore

__all__ = ["RedisStore"]
