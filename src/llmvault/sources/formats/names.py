"""Names and texts out of untrusted files, made safe to show and to write as JSON."""

from __future__ import annotations

_MAX_TEXT = 400


def printable(text: str) -> str:
    """Return a path or name with every character that cannot be shown written as an escape.

    Bytes that are not UTF-8 (surrogate escapes) become ``\\xNN``, other unprintable characters
    ``\\uNNNN``, and a backslash is doubled: two different names never become the same.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_shown, text))


def short_text(value: object) -> str:
    """Return a text from an untrusted document, printable and bounded; empty for anything else."""
    return printable(value[:_MAX_TEXT]) if isinstance(value, str) else ""


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
