"""Addresses of stores as policies and people give them."""

from __future__ import annotations

from urllib.parse import urlsplit

from llmvault.core.errors import PolicyError

HTTP = ("http", "https")


def plain_url(url: str, thing: str, schemes: tuple[str, ...] = HTTP) -> str:
    """Return a URL that holds no credentials.

    Raises:
        PolicyError: when it holds some, or is of no such scheme; it is not repeated.
    """
    parts = urlsplit(url)
    credentials = parts.username is not None or parts.password is not None or parts.query
    if credentials or parts.scheme not in schemes:
        *some, last = (f"{scheme}://" for scheme in schemes)
        raise PolicyError(
            thing,
            f"its address is no plain {', '.join(some)} or {last} URL, or holds credentials",
            f"give {schemes[0]}://host:port, and credentials by reference",
        )
    return url.rstrip("/")


def is_http(address: str) -> bool:
    """Whether an address is that of a server that speaks HTTP, and no path."""
    return urlsplit(address).scheme in HTTP
