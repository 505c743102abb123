"""How a tree of tiles grows at its right edge. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmvault.ledger.merkle import EMPTY_ROOT, fold, leaf_hash, node_hash
from llmvault.ledger.tiles import WIDTH, bundle_bytes, tile_path, width_of


@dataclass(frozen=True, slots=True)
class Growth:
    """The right edge of a ledger.

    Attributes:
        size: entries in all.
        tiles: for each level of tiles, the hashes of the last tile, which is not full.
        entries: those of the last bundle, which is not full.
        written: path -> bytes of the tiles and bundles that the last growth made or changed.
    """

    size: int
    tiles: tuple[tuple[bytes, ...], ...] = ()
    entries: tuple[bytes, ...] = ()
    written: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def root(self) -> bytes:
        """Return the root of the tree."""
        found: bytes | None = None
        for hashes in self.tiles:  # from the leaves up, so from right to left
            end = len(hashes)
            while end:
                count = end & -end
                left = fold(hashes[end - count : end])
                found = left if found is None else node_hash(left, found)
                end -= count
        return EMPTY_ROOT if found is None else found

    def width(self, level: int, number: int) -> int:
        """Return how many hashes a tile of a level has."""
        return width_of(level, number, self.size)


def grow(edge: Growth, entries: Sequence[bytes]) -> Growth:
    """Return the edge after more entries, and what is to be written."""
    written: dict[str, bytes] = {}
    kept = _fill(written, "entries", edge.size, (*edge.entries, *entries), bundle_bytes)
    tiles: list[tuple[bytes, ...]] = []
    count, new = edge.size, [leaf_hash(entry) for entry in entries]
    level = 0
    while new or level < len(edge.tiles):
        old = edge.tiles[level] if level < len(edge.tiles) else ()
        hashes = (*old, *new)
        full = len(hashes) // WIDTH
        left = _fill(written, level, count, hashes, b"".join) if new else old
        new = [fold(hashes[at * WIDTH : (at + 1) * WIDTH]) for at in range(full)]
        tiles.append(left)
        count //= WIDTH
        level += 1
    return Growth(edge.size + len(entries), tuple(tiles), kept, written)


def _fill(
    written: dict[str, bytes],
    level: int | str,
    count: int,
    items: Sequence[bytes],
    encode: Callable[[Sequence[bytes]], bytes],
) -> tuple[bytes, ...]:
    """Write items into tiles from the one that item number `count` falls into; return the rest."""
    number, start = count // WIDTH, 0
    while len(items) - start >= WIDTH:
        written[tile_path(level, number)] = encode(items[start : start + WIDTH])
        number, start = number + 1, start + WIDTH
    rest = tuple(items[start:])
    if rest:
        written[tile_path(level, number, len(rest))] = encode(rest)
    return rest
