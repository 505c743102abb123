"""Environment variables in policy text: ``${NAME}``, ``${NAME:-default}``, ``$$`` for a dollar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<odd>\{))"
)


@dataclass(frozen=True, slots=True)
class Interpolated:
    """A text with its variables put in.

    Attributes:
        variables: names that were looked up, in order, each once.
        errors: one message per reference that could not be replaced.
    """

    text: str
    variables: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def interpolate(text: str, environment: Mapping[str, str]) -> Interpolated:
    """Replace the references in a text; as in a shell, a default also stands for an empty value."""
    if "$" not in text:
        return Interpolated(text)
    variables: dict[str, None] = {}
    errors: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["odd"]:
            errors.append(_ODD)
            return match[0]
        variables[match["name"]] = None
        value = environment.get(match["name"])
        errors.extend(_wrong_value(match["name"], value, match["default"]))
        return value or match["default"] or ""

    replaced = _REFERENCE.sub(replacement, text)
    return Interpolated(replaced, tuple(variables), tuple(errors))


def _wrong_value(name: str, value: str | None, default: str | None) -> Iterator[str]:
    if value is None and default is None:
        yield (
            f"the environment variable {name} is not set; export it, or write ${{{name}:-default}}"
        )
    if value and any("\ud800" <= character <= "\udfff" for character in value):
        yield f"the environment variable {name} is not UTF-8 text; set it again"


_ODD = "${ does not begin a reference; write ${NAME}, ${NAME:-default}, or $${ for the characters"
