"""Merkle hashing and proofs, against the definition and published values."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    consistent,
    fold,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    tree_root,
)

# The test tree of Certificate Transparency's reference implementation.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
CT_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
CT_INCLUSION = {
    (0, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"],
    (5, 8): ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
}  # fmt: skip
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"],
    (2, 5): ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
    (6, 8): ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
}  # fmt: skip


@dataclass(frozen=True)
class Leaves:
    """All leaf hashes of a tree, in memory."""

    hashes: list[bytes]

    def at(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        return fold(self.hashes[index << level : (index + 1) << level])


def tree_of(count: int) -> Leaves:
    return Leaves([leaf_hash(b"%d" % n) for n in range(count)])


def by_definition(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(by_definition(hashes[:split]), by_definition(hashes[split:]))


def test_the_published_tree_has_its_published_root() -> None:
    tree = Leaves([leaf_hash(entry) for entry in CT_LEAVES])
    assert tree_root(tree, 8).hex() == CT_ROOT
    assert tree_root(tree, 0).hex() == EMPTY_ROOT.hex()
    assert EMPTY_ROOT.hex().startswith("e3b0c44298fc1c14")


def test_the_published_tree_has_its_published_proofs() -> None:
    tree = Leaves([leaf_hash(entry) for entry in CT_LEAVES])
    for (index, size), path in CT_INCLUSION.items():
        assert [one.hex() for one in inclusion_proof(tree, index, size)] == path
    for (old, new), path in CT_CONSISTENCY.items():
        assert [one.hex() for one in consistency_proof(tree, old, new)] == path


@pytest.mark.parametrize("count", range(34))
def test_roots_are_those_of_the_definition(count: int) -> None:
    tree = tree_of(count)
    assert tree_root(tree, count) == by_definition(tree.hashes)


@given(st.integers(1, 300), st.data())
def test_every_entry_can_be_proven_and_no_other(count: int, data: st.DataObject) -> None:
    tree = tree_of(count)
    index = data.draw(st.integers(0, count - 1))
    root, proof = tree_root(tree, count), inclusion_proof(tree, index, count)
    assert root_from_inclusion(tree.hashes[index], index, count, proof) == root
    assert root_from_inclusion(leaf_hash(b"other"), index, count, proof) != root
    other = data.draw(st.integers(0, count - 1))
    if other != index:
        assert root_from_inclusion(tree.hashes[index], other, count, proof) != root
    assert root_from_inclusion(tree.hashes[index], index, count, [*proof, root]) is None
    if proof:
        assert root_from_inclusion(tree.hashes[index], index, count, proof[:-1]) is None


@given(st.integers(1, 300), st.data())
def test_growth_can_be_proven_and_rewriting_cannot(count: int, data: st.DataObject) -> None:
    tree = tree_of(count)
    old = data.draw(st.integers(0, count))
    proof = consistency_proof(tree, old, count)
    before, after = tree_root(tree, old), tree_root(tree, count)
    assert consistent(old, count, before, after, proof)
    assert not consistent(old, count, before, leaf_hash(b"other"), proof) or old == 0
    if old not in (0, count):
        assert not consistent(old, count, leaf_hash(b"other"), after, proof)
        assert not consistent(old, count, before, after, proof[:-1])
        assert not consistent(old, count, before, after, [*proof, after])


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    tree = tree_of(3)
    for index in (-1, 3):
        with pytest.raises(ValueError, match="has none with index"):
            inclusion_proof(tree, index, 3)
        assert root_from_inclusion(tree.hashes[0], index, 3, ()) is None
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(tree, 4, 3)
    assert not consistent(4, 3, b"", b"", ())
