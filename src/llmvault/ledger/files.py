"""A ledger's files, read: checkpoint, tiles and entries of a directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.ledger.checkpoint import Proof, parse_checkpoint
from llmvault.ledger.entries import read_entry
from llmvault.ledger.merkle import HASH_SIZE, fold, inclusion_proof
from llmvault.ledger.model import Checkpoint, Entry, Head
from llmvault.ledger.tiles import (
    LEVELS_PER_TILE,
    WIDTH,
    bundles_of,
    parse_bundle,
    tile_path,
    width_of,
)

CHECKPOINT = "checkpoint"
MINIMUM_INDEX = "minimum-index"


def read_file(directory: Path, relative: str) -> bytes:
    """Return the bytes of one of the ledger's files.

    Raises:
        IntegrityError: when it is missing.
        UnavailableError: when it cannot be read.
    """
    try:
        return (directory / relative).read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"ledger {relative}", "it is missing", _RESTORE) from error
    except OSError as error:
        cause = error.strerror or str(error)
        raise UnavailableError(f"ledger {relative}", f"it cannot be read: {cause}") from error


def read_tile(directory: Path, level: int | str, number: int, width: int) -> bytes:
    """Return the bytes of a tile or bundle, of which the first `width` items are wanted.

    A wider one stands in for one that has grown since its checkpoint was read.

    Raises:
        IntegrityError: when none is there.
    """
    exact = tile_path(level, number, width)
    if width == WIDTH or (directory / exact).exists():
        return read_file(directory, exact)
    full = tile_path(level, number)
    wider = (directory / f"{full}.p").glob("*")
    widths = sorted(int(one.name) for one in wider if one.name.isdigit())
    for other in (*(one for one in widths if one > width), WIDTH):
        path = directory / tile_path(level, number, other)
        if path.exists():
            return path.read_bytes()
    return read_file(directory, exact)


_RESTORE = "bring the ledger back from a repository: llmvault init --recover"


@dataclass(frozen=True, slots=True)
class TileTree:
    """The tree of the first `size` leaves, read from tiles; see :class:`merkle.Hashes`."""

    directory: Path
    size: int
    _tiles: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False)

    def at(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        tile_level, above = divmod(level, LEVELS_PER_TILE)
        first = index << above
        number, position = divmod(first, WIDTH)
        data = self._tile(tile_level, number)
        count = 1 << above
        if (position + count) * HASH_SIZE > len(data):
            place = tile_path(tile_level, number)
            raise IntegrityError(f"ledger {place}", "it is shorter than the checkpoint says")
        hashes = [
            data[at * HASH_SIZE : (at + 1) * HASH_SIZE] for at in range(position, position + count)
        ]
        return fold(hashes)

    def _tile(self, level: int, number: int) -> bytes:
        if (level, number) not in self._tiles:
            width = width_of(level, number, self.size)
            data = read_tile(self.directory, level, number, width)
            self._tiles[level, number] = data[: width * HASH_SIZE]
        return self._tiles[level, number]


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """A ledger in a directory; reading needs no key."""

    directory: Path

    def exists(self) -> bool:
        """Whether a ledger was begun here."""
        return (self.directory / CHECKPOINT).exists()

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint; its signature is not looked at.

        Raises:
            IntegrityError: when there is none, or it is no checkpoint.
        """
        try:
            return parse_checkpoint(read_file(self.directory, CHECKPOINT).decode())
        except UnicodeDecodeError as error:
            raise IntegrityError("ledger checkpoint", "it is no text") from error

    def minimum_index(self) -> int:
        """Return the first index whose entry is still kept (C2SP tlog-tiles, pruning)."""
        try:
            return int((self.directory / MINIMUM_INDEX).read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise IntegrityError(f"ledger {MINIMUM_INDEX}", "it holds no number") from error

    def tree(self, head: Head) -> TileTree:
        """Return the tree of a head."""
        return TileTree(self.directory, head.size)

    def raw_entries(self, size: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of the entries from `start` on.

        Raises:
            IntegrityError: when a bundle is missing or torn.
        """
        for number, width in bundles_of(size):
            first = number * WIDTH
            if first + width <= start:
                continue
            data = read_tile(self.directory, "entries", number, width)
            entries = parse_bundle(data, width, tile_path("entries", number, width))
            for position in range(max(0, start - first), width):
                yield first + position, entries[position]

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Yield the entries from `start` up to before `end` of the newest checkpoint."""
        size = self.checkpoint().head.size
        last = size if end is None else min(end, size)
        for index, data in self.raw_entries(size, max(start, self.minimum_index())):
            if index >= last:
                return
            yield read_entry(index, data)

    def prove(self, index: int, checkpoint: Checkpoint | None = None) -> Proof:
        """Return the proof that entry `index` is under a checkpoint; the newest by default.

        Raises:
            ValueError: when it has no such entry.
        """
        under = checkpoint or self.checkpoint()
        newest = self.checkpoint()
        path = inclusion_proof(self.tree(newest.head), index, under.head.size)
        return Proof(index, path, under)
