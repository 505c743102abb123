"""Verifying a ledger: everything hashed anew, and compared with checkpoints kept elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.keys.note import VerifierKey, signers_of
from llmvault.ledger.files import LedgerFiles, TileTree, read_tile
from llmvault.ledger.growth import Growth
from llmvault.ledger.merkle import EMPTY_ROOT, HASH_SIZE, fold, tree_root
from llmvault.ledger.model import Checkpoint, Head
from llmvault.ledger.tiles import WIDTH, bundles_of, parse_bundle, tile_path


@dataclass(frozen=True, slots=True)
class Pin:
    """A checkpoint that was kept outside of the ledger.

    Attributes:
        where: names the place for people.
        earlier: heads of the same ledger that the place was given before.
    """

    where: str
    checkpoint: Checkpoint
    earlier: tuple[Head, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes at which it says what the root is."""
        return (self.checkpoint.head.size, *(head.size for head in self.earlier))


def verify_ledger(
    files: LedgerFiles, keys: Sequence[VerifierKey], pins: Sequence[Pin]
) -> tuple[Check, ...]:
    """Return the checks ``checkpoint``, ``entries``, ``tiles`` and ``pinned``.

    Args:
        keys: public keys of this installation.
        pins: none leaves ``pinned`` unproven: a ledger that was rewritten as a whole by who holds
            the key looks like any other.
    """
    try:
        checkpoint = files.checkpoint()
        signed = _signed(checkpoint, keys)
    except VaultError as error:
        return (Check("checkpoint", "", Verdict.FAILED, error.diagnostics()),)
    entries, roots = _entries_check(files, checkpoint, [size for pin in pins for size in pin.sizes])
    return (
        signed,
        entries,
        _tiles_check(files, checkpoint),
        *_pin_checks(files, checkpoint, keys, pins, roots),
    )


def _signed(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> Check:
    head = checkpoint.head
    by = signers_of(checkpoint.note, keys)
    if not by:
        cause = "it is signed by none of this installation's keys"
        return Check("checkpoint", "", Verdict.FAILED, f"{head.size} entries: {cause}")
    names = ", ".join(f"{key.name}+{key.id.hex()}" for key in by)
    return Check("checkpoint", "", Verdict.PROVEN, f"{head.size} entries, signed by {names}")


def _entries_check(
    files: LedgerFiles, checkpoint: Checkpoint, sizes: Sequence[int]
) -> tuple[Check, dict[int, bytes]]:
    """Hash every entry anew; return the check and the root at each of the sizes."""
    head = checkpoint.head
    minimum = files.minimum_index()
    wanted = sorted({size for size in sizes if size <= head.size})
    roots: dict[int, bytes] = {}
    tree = TileTree(files.directory, head.size)
    try:
        for edge in _edges(files, head.size, minimum):
            while wanted and wanted[0] <= edge.size:
                size = wanted.pop(0)
                roots[size] = edge.root() if size == edge.size else tree_root(tree, size)
            last = edge
        root = last.root()
    except VaultError as error:
        return Check("entries", "", Verdict.FAILED, error.diagnostics()), roots
    if root != head.root:
        detail = f"{head.size} entries do not lead to the checkpoint's root: one was changed"
        return Check("entries", "", Verdict.FAILED, detail), roots
    pruned = f"; those before {minimum} are pruned, their hashes are kept" if minimum else ""
    detail = f"{head.size - minimum} entries hashed anew lead to the checkpoint's root{pruned}"
    return Check("entries", "", Verdict.PROVEN, detail), roots


def _edges(files: LedgerFiles, size: int, minimum: int) -> Iterator[Growth]:
    """Yield the tree's right edge after each bundle; what is pruned is taken from the tiles."""
    tiles: list[list[bytes]] = []
    count = 0
    yield Growth(0)
    sha256 = hashlib.sha256
    for number, width in bundles_of(size):
        if (number + 1) * WIDTH <= minimum:
            data = read_tile(files.directory, 0, number, width)[: width * HASH_SIZE]
            hashes = [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
        else:
            raw = read_tile(files.directory, "entries", number, width)
            entries = parse_bundle(raw, width, tile_path("entries", number, width))
            hashes = [sha256(b"\x00" + entry).digest() for entry in entries]
        count += width
        _add(tiles, hashes)
        if number % WIDTH == WIDTH - 1 or count == size:
            yield Growth(count, tuple(tuple(level) for level in tiles))


def _add(tiles: list[list[bytes]], hashes: list[bytes]) -> None:
    """Add the hashes of a whole bundle; a full tile becomes one hash of the level above."""
    level = 0
    while hashes:
        if level == len(tiles):
            tiles.append([])
        tiles[level].extend(hashes)
        if len(tiles[level]) < WIDTH:
            return
        hashes, tiles[level], level = [fold(tiles[level])], [], level + 1


def _tiles_check(files: LedgerFiles, checkpoint: Checkpoint) -> Check:
    """Compare every tile with the one above it, and the topmost with the root."""
    head = checkpoint.head
    count, level, compared = head.size, 0, 0
    above: list[bytes] | None = None
    try:
        root = tree_root(TileTree(files.directory, head.size), head.size)
        while count:
            found = []
            for number in range(-(-count // WIDTH)):
                width = min(WIDTH, count - number * WIDTH)
                data = read_tile(files.directory, level, number, width)
                if len(data) < width * HASH_SIZE:
                    place = tile_path(level, number, width)
                    raise IntegrityError(f"ledger {place}", "it is too short")
                if width == WIDTH:
                    found.append(
                        fold([data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])
                    )
                compared += 1
                if above is not None and not _same(above, number, data, width):
                    place = tile_path(level, number, width)
                    raise IntegrityError(f"ledger {place}", "it does not fit the tiles below it")
            above, count, level = found, count // WIDTH, level + 1
    except VaultError as error:
        return Check("tiles", "", Verdict.FAILED, error.diagnostics())
    if root != (head.root if head.size else EMPTY_ROOT):
        return Check("tiles", "", Verdict.FAILED, "the tiles do not lead to the checkpoint's root")
    return Check("tiles", "", Verdict.PROVEN, f"{compared} tiles fit each other and the checkpoint")


def _same(below: Sequence[bytes], number: int, data: bytes, width: int) -> bool:
    expected = b"".join(below[number * WIDTH : number * WIDTH + width])
    return data[: width * HASH_SIZE] == expected


def _pin_checks(
    files: LedgerFiles,
    checkpoint: Checkpoint,
    keys: Sequence[VerifierKey],
    pins: Sequence[Pin],
    roots: dict[int, bytes],
) -> Iterator[Check]:
    if not pins:
        detail = "no checkpoint is kept outside; set ledger.witnesses in the policy"
        yield Check("pinned", "", Verdict.UNPROVEN, detail)
    for pin in pins:
        verdict, detail = _pinned(checkpoint, keys, pin, roots)
        yield Check("pinned", pin.where, verdict, detail)


def _pinned(
    checkpoint: Checkpoint, keys: Sequence[VerifierKey], pin: Pin, roots: dict[int, bytes]
) -> tuple[Verdict, str]:
    head, kept = checkpoint.head, pin.checkpoint.head
    try:
        signed = signers_of(pin.checkpoint.note, keys)
    except IntegrityError as error:
        return Verdict.FAILED, error.cause
    if kept.origin != head.origin:
        return Verdict.FAILED, f"it is of another ledger, {kept.origin}"
    if not signed:
        return Verdict.UNPROVEN, "the kept checkpoint is signed by none of the known keys"
    if kept.size > head.size:
        cut = "the ledger was cut back or is an older one"
        return Verdict.FAILED, f"{cut}: {kept.size} entries were pinned, it has {head.size}"
    return compare_heads(kept, pin.earlier, head.size, roots)


def compare_heads(
    kept: Head, earlier: Sequence[Head], size: int, roots: Mapping[int, bytes]
) -> tuple[Verdict, str]:
    """Return whether a ledger begins with what heads say, and the words for it.

    Args:
        kept: the newest, of no more than `size` entries.
        earlier: others of the same ledger.
        roots: size -> the ledger's root at it.
    """
    if kept.size not in roots:
        return Verdict.UNPROVEN, f"the ledger could not be read up to entry {kept.size}"
    if roots[kept.size] != kept.root:
        return Verdict.FAILED, f"its first {kept.size} entries are not those that were pinned"
    for other in earlier:
        if other.size > size:
            words = f"{other.size} entries were pinned before, it has {size}"
            return Verdict.FAILED, f"it is forked: {words}"
        if roots.get(other.size) != other.root:
            words = f"its first {other.size} entries are not those that were pinned before"
            return Verdict.FAILED, f"it is forked: {words}"
    more = f"; so are those of {len(earlier)} earlier heads" if earlier else ""
    return Verdict.PROVEN, f"its first {kept.size} entries are those that were pinned{more}"
