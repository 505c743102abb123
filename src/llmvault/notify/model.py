"""What is delivered to a target, and what came of it, as frozen values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

_SHORTEST_PART = 4


@dataclass(frozen=True, slots=True)
class Message:
    """What people read.

    Attributes:
        at: RFC 3339.
        severity: ``info``, ``warning``, ``error``, ``critical``; ``resolved`` when all is over.
        html: the same as a page, for mail.
    """

    at: str
    title: str
    text: str
    severity: str = "info"
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something is tried; times in seconds."""

    attempts: int
    backoff_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """One delivery.

    Attributes:
        kind: ``apprise``, ``email``, ``ping`` or ``file``.
        place: where to, as the kind needs it; may hold secrets.
        secrets: those of them that must not be repeated in any message.
    """

    kind: str
    place: Mapping[str, Any] = field(repr=False)
    message: Message
    patience: Patience
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of it.

    Attributes:
        tries: how often it was tried.
        cause: why it was not delivered; empty when it was.
    """

    tries: int
    cause: str = ""


class NotDeliveredError(Exception):
    """A target did not take something.

    Args:
        cause: in a sentence, without the address.
        again: whether trying again may help.
    """

    def __init__(self, cause: str, *, again: bool = True) -> None:
        super().__init__(cause)
        self.cause = cause
        self.again = again


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return a text with secrets, and every part of them such as a token in a URL, as ``***``."""
    parts = {part for secret in secrets for part in _parts(secret)}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _parts(secret: str) -> set[str]:
    _, _, rest = secret.rpartition("://")
    found = {secret, rest, unquote(secret)}
    for form in (rest, unquote(rest)):
        found |= {*re.split(r"[/:@?&=#,\s]+", form), *re.split(r"[^A-Za-z0-9]+", form)}
    return {part for part in found if len(part) >= _SHORTEST_PART}
