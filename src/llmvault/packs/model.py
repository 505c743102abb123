"""Giving restic a head start, as plain frozen values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.packs.format import is_plain

TAG = "llmvault:head-start"
LARGE = 16 << 20  # bytes from which a file is written here
WORTH_IT = 64 << 20  # bytes of such files from which it is faster than restic alone


@dataclass(frozen=True, slots=True)
class HeadStart:
    """A snapshot that holds large files already, for restic to compare with.

    Attributes:
        place: its file; it is removed when restic's own snapshot is there.
        added: bytes that packs grew by.
    """

    place: Path
    added: int

    @property
    def snapshot(self) -> str:
        """Its id."""
        return self.place.name


@dataclass(frozen=True, slots=True)
class Written:
    """What was written ahead of restic.

    Attributes:
        starts: repository name -> its head start.
        sha256: path -> digest of each file that was written and did not change meanwhile.
    """

    starts: Mapping[str, HeadStart]
    sha256: Mapping[str, str]


def large_files(
    files: Iterable[Entry], has_holes: Callable[[Entry], bool] = lambda _: False
) -> tuple[Entry, ...]:
    """Return the files that are worth writing here; none when they are too few.

    Not those with holes: restic writes them again as holes, but only where it cut them itself.
    """
    large = tuple(
        entry
        for entry in files
        if entry.size >= LARGE and is_plain(entry.path) and not has_holes(entry)
    )
    return large if sum(entry.size for entry in large) >= WORTH_IT else ()
