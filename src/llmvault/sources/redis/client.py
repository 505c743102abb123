"""Talking to Redis: opening it, having it save, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.secrets import Secret

if TYPE_CHECKING:
    from redis import Redis

SCHEMES = ("redis", "rediss", "unix")
SAVE_SECONDS = 3600.0
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 120.0
_PAUSE_SECONDS = 0.05


@contextmanager
def open_redis(
    url: str, user: str, password: Secret | None, *, probe: bool = True
) -> Iterator[Redis]:
    """Connect to a server; nothing is tried again.

    Args:
        probe: whether to see at once that it answers.

    Raises:
        UnavailableError: when it cannot be reached or does not accept the credentials.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise UnavailableError(
            "redis", f"it cannot be imported: {error}", "pip install 'llmvault[redis]'"
        ) from error
    client = redis.Redis.from_url(
        url,
        username=user or None,
        password=password.reveal() if password is not None else None,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_REQUEST_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    with redis_errors(f"Redis server {url}"):
        try:
            if probe:
                client.ping()
            yield client
        finally:
            client.close()


@contextmanager
def redis_errors(thing: str) -> Iterator[None]:
    """Turn what the client raises into our errors."""
    import redis

    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise UnavailableError(
            thing,
            f"it refuses access: {_said(error)}",
            "correct the user and the password; INFO, CONFIG GET, BGSAVE and reading are needed",
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise UnavailableError(
            thing, f"it cannot be reached: {_said(error)}", "start it, or correct the url"
        ) from error
    except redis.RedisError as error:
        if _said(error).startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            raise UnavailableError(
                thing,
                f"it refuses access: {_said(error)}",
                "correct the source's user and password",
            ) from error
        raise IntegrityError(thing, f"it says: {_said(error)}") from error


def _said(error: Exception) -> str:
    told = str(error).strip() or type(error).__name__
    return told.splitlines()[0][:300]


def save(client: Redis, thing: str, clock: Clock) -> None:
    """Have the server write its RDB file now, and wait until it is written.

    Raises:
        UnavailableError: when it cannot be written, or not within an hour.
    """
    give_up = clock.monotonic() + SAVE_SECONDS
    while not _started(client):
        _wait(clock, give_up, thing)
    while info(client, "persistence").get("rdb_bgsave_in_progress"):
        _wait(clock, give_up, thing)
    if info(client, "persistence").get("rdb_last_bgsave_status") != "ok":
        raise UnavailableError(
            thing,
            "its background save failed",
            "look at the server's log, memory and disk space, then try again",
        )


def _started(client: Redis) -> bool:
    """Start a background save; one that is under way began too early to be of use."""
    import redis

    try:
        client.execute_command("BGSAVE")
    except redis.ResponseError as error:
        if "in progress" in str(error):
            return False
        raise
    return True


def _wait(clock: Clock, give_up: float, thing: str) -> None:
    if clock.monotonic() > give_up:
        raise UnavailableError(thing, "it is still saving after an hour", "try again later")
    clock.sleep(_PAUSE_SECONDS)


def info(client: Redis, section: str) -> Mapping[str, Any]:
    """Return a section of what the server says of itself."""
    stated: Mapping[str, Any] = client.info(section)
    return stated


def setting(client: Redis, name: str) -> str:
    """Return a setting of the server; empty where it may not be read."""
    import redis

    try:
        stated = client.config_get(name)
    except redis.ResponseError:
        return ""
    value = stated.get(name, "")
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
