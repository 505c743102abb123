"""What every section of a policy is made of: its base model, and types of values."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
)
from pydantic.json_schema import WithJsonSchema

from llmvault.core.secrets import SecretRef, parse_secret_ref
from llmvault.core.units import parse_duration

_REMOTE = re.compile(r"(?!local:)[A-Za-z][A-Za-z0-9+.-]+:")
_PathOrText = TypeVar("_PathOrText", Path, str)


def _duration(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit; write for example 15m, 24h, 1h30m or 7d")
    try:
        return parse_duration(value) if isinstance(value, str) else value
    except OverflowError as error:
        raise ValueError(f"{value!r} is too long a time") from error


def _secret(value: object) -> object:
    if isinstance(value, SecretRef):
        return value
    reference = parse_secret_ref(value if isinstance(value, str) else "")
    if reference.scheme == "file":
        usable_path(reference.locator)
    return reference


def duration_text(value: timedelta) -> str:
    """Return a duration as a policy writes it, without loss: ``1h30m``, ``7d``, ``0.5s``."""
    seconds, fraction = value.days * 86_400 + value.seconds, value.microseconds
    text = ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    rest = f"{seconds}.{fraction:06}".rstrip("0").rstrip(".") if fraction else str(seconds)
    return f"{text}{rest}s" if rest != "0" or not text else text


def is_local_url(url: str) -> bool:
    """Whether a repository's URL is a path on this machine rather than a restic backend."""
    return _REMOTE.match(url) is None


def usable_path(path: _PathOrText) -> _PathOrText:
    """Return a path as it is.

    Raises:
        ValueError: when the operating system could not open it as written.
    """
    if "\0" in str(path):
        raise ValueError("holds a NUL character, which no path can")
    if str(path).startswith("~"):
        raise ValueError("~ is not replaced; write ${HOME}/… or a full path")
    return path


LocalPath = Annotated[Path, AfterValidator(usable_path)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*(\d+(\.\d+)?\s*[smhdw]\s*)+$",
            "examples": ["15m", "24h", "1h30m", "7d"],
        }
    ),
]
SecretReference = Annotated[
    SecretRef,
    BeforeValidator(_secret),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(env|file|cmd|credential):.+"}),
]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
CommitSha = Annotated[str, StringConstraints(min_length=1)]


class Model(BaseModel):
    """Base of every policy object: unknown keys are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        defer_build=True,  # validators are built once, as parts of the whole policy's
    )
