"""What a policy leaves out of a source. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def left_out(path: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path, or a directory above it, matches an exclusion.

    A pattern without a slash is matched against each name of the path, one with a slash against
    the whole of it (fnmatch, case-sensitive; ``*`` also matches a slash).
    """
    if not patterns:
        return False
    names = path.split("/")
    above = ["/".join(names[: depth + 1]) for depth in range(len(names))]
    return any(
        any(fnmatchcase(candidate, pattern.strip("/") or pattern) for candidate in candidates)
        for pattern in patterns
        for candidates in (above if "/" in pattern else names,)
    )
