"""Reading values out of what an engine answered; anything but the expected form is an error."""

from __future__ import annotations

import math

Vector = tuple[float, ...]


def text(value: object) -> str:
    """Return a text.

    Raises:
        TypeError: for anything else.
    """
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    # A token may be half a character; JSON can carry that as a lone surrogate, UTF-8 cannot.
    return value.encode("utf-8", "replace").decode("utf-8")


def token_ids(value: object) -> tuple[int, ...]:
    """Return token ids.

    Raises:
        TypeError: for anything but an array of integers.
    """
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise TypeError("an array of token ids was expected")
    return tuple(value)


def unit_vector(value: object) -> Vector:
    """Return a vector, scaled to length 1.

    Raises:
        TypeError: for anything but an array of numbers.
        ValueError: when it is empty, all zero, or holds a number that is not finite.
    """
    if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
        raise TypeError("an array of numbers was expected")
    length = math.hypot(*value)
    if not value or length == 0 or not math.isfinite(length):
        raise ValueError("a vector with a length was expected, not an empty, zero or infinite one")
    return tuple(item / length for item in value)
