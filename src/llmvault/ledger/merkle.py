"""Merkle tree hashing and proofs (RFC 6962 section 2.1, RFC 9162 section 2.1). Pure.

Hashes are 32 bytes. A tree is read through :class:`Hashes`: the hash of the complete subtree with
2^level leaves that begins at leaf ``index << level``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Hashes(Protocol):
    """The complete subtrees of a tree."""

    def at(self, level: int, index: int) -> bytes:
        """Return the hash of complete subtree number `index` of a level; level 0 is the leaves.

        Raises:
            IntegrityError: when it is not there.
        """


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a complete subtree from its 2^n hashes of one level."""
    level = list(hashes)
    sha256 = hashlib.sha256
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return level[0]


def tree_root(tree: Hashes, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return _subtree(tree, 0, size) if size else EMPTY_ROOT


def inclusion_proof(tree: Hashes, index: int, size: int) -> tuple[bytes, ...]:
    """Return the path of leaf `index` in the tree of `size` leaves, from the leaf up.

    Raises:
        ValueError: unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has none with index {index}")
    return tuple(_path(tree, index, 0, size))


def consistency_proof(tree: Hashes, old: int, new: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `old` leaves is the beginning of that of `new`.

    Raises:
        ValueError: unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} entries is no beginning of one of {new}")
    if old in (0, new):
        return ()
    return tuple(_subproof(tree, old, 0, new, whole=True))


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Iterable[bytes]) -> bytes | None:
    """Return the root to which a path leads (RFC 9162, 2.1.3.2); None when it fits no tree."""
    if not 0 <= index < size:
        return None
    node, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            found = node_hash(other, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, other)
        node, last = node >> 1, last >> 1
    return found if last == 0 else None


def consistent(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that one tree is the beginning of another (RFC 9162, 2.1.4.2)."""
    if old > new or (old == new and (proof or old_root != new_root)):
        return False
    if old in (0, new):
        return not proof and (old != 0 or old_root == EMPTY_ROOT)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(other, first), node_hash(other, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, other)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _subtree(tree: Hashes, start: int, end: int) -> bytes:
    count = end - start
    level = count.bit_length() - 1
    if count == 1 << level and start % count == 0:
        return tree.at(level, start >> level)
    split = _split(count)
    return node_hash(_subtree(tree, start, start + split), _subtree(tree, start + split, end))


def _path(tree: Hashes, index: int, start: int, end: int) -> list[bytes]:
    count = end - start
    if count == 1:
        return []
    middle = start + _split(count)
    if index < middle:
        return [*_path(tree, index, start, middle), _subtree(tree, middle, end)]
    return [*_path(tree, index, middle, end), _subtree(tree, start, middle)]


def _subproof(tree: Hashes, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    count = end - start
    if old == count:
        return [] if whole else [_subtree(tree, start, end)]
    split = _split(count)
    middle = start + split
    if old <= split:
        return [
            *_subproof(tree, old, start, middle, whole=whole),
            _subtree(tree, middle, end),
        ]
    return [
        *_subproof(tree, old - split, middle, end, whole=False),
        _subtree(tree, start, middle),
    ]


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1
