"""restic's repository format, as it is written and read here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.entries import Entry
from llmvault.packs.format import (
    Blob,
    Pack,
    directory_node,
    file_node,
    go_time,
    header_length,
    index_document,
    is_exclusive,
    is_plain,
    lock_document,
    pack_header,
    parse_index,
    parse_snapshot_tree,
    parse_tree,
    snapshot_document,
    tree_document,
)
from llmvault.packs.model import LARGE, WORTH_IT, large_files

ID = bytes(range(32))
FILE = Entry("a/b.bin", "file", 9, 0o100640, 1, 2, 1_700_000_000_000_000_005, 6, 7, 8, 1)
NOW = datetime(2026, 11, 26, 1, 2, 3, 4, tzinfo=UTC)


def test_a_header_names_kind_length_and_id() -> None:
    header = pack_header([Blob(ID, "data", 0, 0x01020304), Blob(ID, "tree", 5, 6)])
    assert header == b"\x00\x04\x03\x02\x01" + ID + b"\x01\x06\x00\x00\x00" + ID
    assert header_length(0x0102) == b"\x02\x01\x00\x00"


blobs = st.builds(
    Blob,
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["data", "tree"]),
    st.integers(0, 1 << 32),
    st.integers(32, 1 << 24),
)
packs = st.builds(Pack, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.tuples(blobs, blobs))


@given(st.lists(packs, max_size=4))
def test_an_index_is_read_as_it_was_written(written: list[Pack]) -> None:
    assert [*parse_index(index_document(written))] == written


@pytest.mark.parametrize("text", [b"{}", b"[]", b'{"packs": [{}]}', b'{"packs": 1}', b"no"])
def test_what_is_no_index(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        [*parse_index(text)]


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_keep_their_nanoseconds(nanoseconds: int) -> None:
    text = go_time(nanoseconds)
    whole, _, rest = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    assert (seconds * 1_000_000_000 + int(rest), len(rest)) == (nanoseconds, 9)


def test_a_tree_is_in_the_order_of_bytes() -> None:
    names = ["b", "B", "a.b", "a", "a-b", "ab"]
    document = tree_document({"name": name} for name in names)
    assert document.endswith(b"}\n")
    ordered = [node["name"] for node in parse_tree(document)]
    assert ordered == sorted(names, key=str.encode)
    with pytest.raises(ValueError, match="no tree"):
        parse_tree(b"{}")


def test_nodes_tell_what_restic_compares() -> None:
    node = file_node(FILE, [ID])
    assert (node["name"], node["type"], node["mode"], node["size"]) == ("b.bin", "file", 0o640, 9)
    assert (node["mtime"], node["inode"]) == ("2023-11-14T22:13:20.000000005Z", 7)
    assert node["content"] == [ID.hex()]
    folder = directory_node(replace(FILE, path="a", kind="dir", mode=0o40750), "5" * 64)
    assert (folder["mode"], folder["subtree"]) == (0o20000000750, "5" * 64)


def test_snapshots_and_locks() -> None:
    document = snapshot_document(time=NOW, tree="7" * 64, path="/live", host="h", tag="t")
    assert parse_snapshot_tree(document) == "7" * 64
    assert json.loads(document)["time"] == "2026-11-26T01:02:03.000004Z"
    with pytest.raises(ValueError, match="no snapshot"):
        parse_snapshot_tree(b"[]")
    shared = lock_document(time=NOW, host="h", process=1, uid=2, gid=3)
    assert not is_exclusive(shared)
    assert is_exclusive(b'{"exclusive":true}')
    assert is_exclusive(b"not understood")


@pytest.mark.parametrize(
    ("path", "plain"),
    [("a/b c.bin", True), ('q"q', False), ("b\\b", False), ("größe", False), ("a\nb", False)],
)
def test_names_that_need_no_escape(path: str, plain: bool) -> None:
    assert is_plain(path) is plain


def test_a_few_small_files_are_not_worth_it() -> None:
    large = replace(FILE, size=LARGE)
    enough = [replace(large, path=str(number)) for number in range(WORTH_IT // LARGE)]
    assert large_files([*enough, FILE]) == tuple(enough)
    assert large_files(enough[1:]) == ()
    assert large_files(enough, lambda entry: entry == enough[0]) == ()
    assert large_files([replace(large, path='"', size=WORTH_IT)]) == ()
