"""Trees, links and exclusions."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.sources.exclusion import left_out
from llmvault.sources.walk import Tree, existing_root, follow, is_cache_folder, read_tree
from tests.unit.sources.conftest import without_privileges

TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a/b.txt", "*.txt", True),
        ("a/b.txt", "a", True),
        ("a/b.txt", "b", False),
        ("a/b.txt", "a/b.txt", True),
        ("a/b.txt", "/a", True),
        ("a/b.txt", "/b.txt", False),
        ("a/b/c", "a/b", True),
        ("a/b/c", "a/*", True),
        ("A/b", "a", False),
        ("models--x/blobs/1.incomplete", "*/blobs/*.incomplete", True),
        ("1.incomplete/x", "*/blobs/*.incomplete", False),
    ],
)
def test_exclusions(path: str, pattern: str, expected: bool) -> None:
    assert left_out(path, (pattern,)) is expected


def test_nothing_is_left_out_without_patterns() -> None:
    assert not left_out("a", ())


@pytest.mark.parametrize("content", ["absent", "file"])
def test_a_root_must_be_a_directory(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match='source "models"'):
        existing_root(tmp_path / content, "models")


def test_a_root_that_is_a_link_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert existing_root(tmp_path / "link", "models") == tmp_path / "real"


def test_a_root_that_is_a_loop_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnavailableError):
        existing_root(tmp_path / "loop", "models")


def test_special_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a path above 108 bytes does not fit the address of a socket
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        tree = read_tree(tmp_path, "models")
    assert [(f.name, f.path, f.severity) for f in tree.findings] == [
        ("special-file", "pipe", "warning"),
        ("special-file", "socket", "warning"),
    ]


def test_a_folder_that_cannot_be_read_is_told(open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0o700)
    (open_folder / "file").touch()
    (open_folder / "closed").chmod(0)
    with without_privileges():
        tree = read_tree(open_folder, "models")
    assert [(f.name, f.path, f.severity) for f in tree.findings] == [
        ("unreadable", "closed", "unproven")
    ]
    assert set(tree.by_path) == {"closed", "file"}


def link(tree: Tree, path: str) -> tuple[str, int, str]:
    found = follow(tree, tree.by_path[path])
    return found.path, found.size, found.problem


def test_links_are_followed_inside_of_the_tree(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("four")
    (root / "a" / "b" / "direct").symlink_to("../../file")
    (root / "a" / "chain").symlink_to("b/direct")
    (root / "folder").symlink_to("a")
    (root / "through").symlink_to("folder/chain")
    tree = read_tree(root, "models")
    for path in ("a/b/direct", "a/chain", "through"):
        assert link(tree, path) == ("file", 4, "")


def test_links_of_no_use_say_why(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "skipped.tmp").write_text("x")
    links = {
        "dangling": "nowhere",
        "loop": "loop",
        "other-loop": "loop",
        "outside": "../secret",
        "outside-absolute": str(tmp_path / "secret"),
        "absolute": str(root / "skipped.tmp"),
        "itself": ".",
        "left-out": "skipped.tmp",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    tree = read_tree(root, "models", exclude=("*.tmp",))
    problems = {name: link(tree, name)[2] for name in links}
    assert problems == {
        "dangling": "dangling",
        "loop": "loop",
        "other-loop": "loop",
        "outside": "outside",
        "outside-absolute": "outside",
        "absolute": "absolute",
        "itself": "no-file",
        "left-out": "left-out",
    }


def test_exclusions_apply(tmp_path: Path) -> None:
    (tmp_path / "keep").touch()
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "inner").touch()
    assert set(read_tree(tmp_path, "models", exclude=("drop",)).by_path) == {"keep"}


def test_tagged_folders_are_left_out_only_on_demand(tmp_path: Path) -> None:
    for folder in ("cache[1]", "cache1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights").touch()
    (tmp_path / "cache[1]" / "CACHEDIR.TAG").write_text(TAG)
    (tmp_path / "cache1" / "CACHEDIR.TAG").write_text("no signature")
    assert is_cache_folder(tmp_path / "cache[1]")
    assert "cache[1]/weights" in read_tree(tmp_path, "models").by_path
    tree = read_tree(tmp_path, "models", exclude_caches=True)
    assert set(tree.by_path) == {"cache[1]", "cache1", "cache1/weights", "cache1/CACHEDIR.TAG"}
    assert left_out("cache[1]/weights", tree.exclude)
    assert not left_out("cache1/weights", tree.exclude)


def test_a_tag_at_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CACHEDIR.TAG").write_text(TAG)
    with pytest.raises(RefusedError, match="nothing would be stored"):
        read_tree(tmp_path, "models", exclude_caches=True)
