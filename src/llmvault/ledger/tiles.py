"""Tiles: where hashes and entries of the tree lie (C2SP tlog-tiles). Pure.

A tile holds 256 hashes of one level of every eighth; its hashes are those of the complete subtrees
with 256^level leaves. A bundle holds the entries of the 256 leaves of a tile, each after its length
as two bytes, big-endian. What is not full yet lies under ``N.p/WIDTH``. Numbers are written in
groups of three digits: 1234067 as ``x001/x234/067``. Specification: https://c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmvault.core.errors import IntegrityError

WIDTH = 256
LEVELS_PER_TILE = 8
LONGEST_ENTRY = 65_535


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Return where a tile is; `level` is a number, or ``entries`` for a bundle."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield level, number and width of every hash tile of a tree of `size` leaves."""
    level, count = 0, size
    while count:
        for number in range(count // WIDTH):
            yield level, number, WIDTH
        if count % WIDTH:
            yield level, count // WIDTH, count % WIDTH
        level, count = level + 1, count // WIDTH


def bundles_of(size: int) -> Iterator[tuple[int, int]]:
    """Yield number and width of every entry bundle of a tree of `size` leaves."""
    for number in range(size // WIDTH):
        yield number, WIDTH
    if size % WIDTH:
        yield size // WIDTH, size % WIDTH


def width_of(level: int, number: int, size: int) -> int:
    """Return how many hashes tile `number` of a level has in a tree of `size` leaves."""
    count = size >> (LEVELS_PER_TILE * level)
    return min(WIDTH, max(0, count - number * WIDTH))


def bundle_bytes(entries: Iterable[bytes]) -> bytes:
    """Return the bytes of a bundle.

    Raises:
        ValueError: when an entry is longer than 65,535 bytes.
    """
    parts = []
    for entry in entries:
        if len(entry) > LONGEST_ENTRY:
            raise ValueError(f"an entry has {len(entry)} bytes, 65,535 at most can be kept")
        parts.append(len(entry).to_bytes(2) + entry)
    return b"".join(parts)


def parse_bundle(data: bytes, count: int, place: str) -> list[bytes]:
    """Return the first `count` entries of a bundle.

    Raises:
        IntegrityError: when it is torn or does not hold as many.
    """
    entries, position, end = [], 0, len(data)
    while position + 2 <= end:
        start = position + 2
        position = start + int.from_bytes(data[position:start])
        entries.append(data[start:position])
    if position != end or len(entries) < count:
        raise IntegrityError(f"ledger {place}", f"it does not hold {count} whole entries")
    return entries[:count]
