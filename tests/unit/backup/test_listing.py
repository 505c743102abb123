"""What a captured tree holds, and restic's patterns for what is left out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given

from llmvault.backup.listing import changed_since, list_capture, literal_pattern
from llmvault.sources.interface import TreeCapture
from tests.fakes.manifests import paths
from tests.vault import write_tree


def test_exclusions_are_told_by_their_topmost_path(tmp_path: Path) -> None:
    write_tree(
        tmp_path, {"a/b/c": b"", "a/b.lock": b"", "cache/x": b"", "cache/y/z": b"", "d": b""}
    )
    listing = list_capture(TreeCapture(tmp_path, exclude=("cache", "*.lock")))
    assert [entry.path for entry in listing.entries] == ["a", "a/b", "a/b/c", "d"]
    assert listing.omitted == ("a/b.lock", "cache")
    assert [entry.path for entry in listing.files] == ["a/b/c", "d"]


def test_sockets_are_set_apart(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listing = list_capture(TreeCapture(tmp_path))
    assert (listing.entries, listing.sockets) == ((), ("socket",))


def test_a_missing_root_is_unreadable(tmp_path: Path) -> None:
    listing = list_capture(TreeCapture(tmp_path / "absent"))
    assert listing.unreadable == {".": "No such file or directory"}


def test_named_paths_are_listed_depth_first(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a-b/c": b"", "a/c": b"", "a/d": b""})
    listing = list_capture(TreeCapture(tmp_path, paths=("a-b/c", "gone", "a/c")))
    assert [entry.path for entry in listing.entries] == ["a/c", "a-b/c"]
    assert listing.unreadable == {"gone": "No such file or directory"}


class TestChangedSince:
    @pytest.fixture
    def capture(self, tmp_path: Path) -> TreeCapture:
        root = write_tree(tmp_path / "live", {"a": b"1", "inner/b": b"2", "left/out": b""})
        return TreeCapture(root, exclude=("left", "*.lock"))

    def test_nothing(self, capture: TreeCapture) -> None:
        assert changed_since(capture, list_capture(capture)) == ()

    def test_every_change_is_told(self, capture: TreeCapture) -> None:
        listing = list_capture(capture)
        (capture.root / "a").chmod(0o600)
        (capture.root / "inner" / "b").unlink()
        (capture.root / "inner" / "new").touch()
        (capture.root / "newer").symlink_to("a")
        assert {*changed_since(capture, listing)} == {"a", "inner/b", "inner/new", "newer"}

    def test_what_is_excluded_may_change(self, capture: TreeCapture) -> None:
        listing = list_capture(capture)
        (capture.root / "inner" / "a.lock").touch()
        (capture.root / "left" / "more").touch()
        (capture.root / "x.lock").touch()
        assert changed_since(capture, listing) == ()

    def test_other_names_beside_named_paths_may_change(self, capture: TreeCapture) -> None:
        named = TreeCapture(capture.root, paths=("a",))
        listing = list_capture(named)
        (capture.root / "new").touch()
        assert changed_since(named, listing) == ()

    def test_a_vanished_folder_is_told(self, capture: TreeCapture) -> None:
        listing = list_capture(capture)
        (capture.root / "inner" / "b").unlink()
        (capture.root / "inner").rmdir()
        assert {*changed_since(capture, listing)} == {"inner", "inner/b"}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (b"plain", b"plain"),
        (b"$HOME", b"$$HOME"),
        (b"a*b?c[d]", rb"a\*b\?c\[d\]"),
        (rb"back\slash", rb"back\\slash"),
        (b"two\nlines", b"two[\t-\v]lines"),
        (b"end ", b"end[ ]"),
        (b"end\t", b"end[\t]"),
        (b"\xff\xfe", b"\xff\xfe"),
        ("wide\u3000".encode(), "wide[\u3000]".encode()),
    ],
)
def test_patterns_are_literal(tmp_path: Path, name: bytes, pattern: bytes) -> None:
    above = os.fsencode(tmp_path.resolve())
    assert literal_pattern(tmp_path, os.fsdecode(name)) == above + b"/" + pattern


@given(paths)
def test_a_pattern_is_one_line_that_survives_trimming(path: str) -> None:
    line = literal_pattern(Path("/srv"), path)
    assert b"\n" not in line
    assert line.decode("utf-8", "surrogateescape").strip() == os.fsdecode(line)
