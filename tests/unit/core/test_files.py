"""Durable writes, listings in restic's order, digests."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.files import (
    entry_of,
    has_holes,
    list_tree,
    private_directory,
    remove_tree,
    sha256_file,
    write_durably,
)
from tests.fakes.manifests import names
from tests.unit.sources.conftest import open_folder, without_privileges
from tests.vault import write_tree

__all__ = ["open_folder"]
ROOT = Path(__file__).parents[3]


def listed(root: Path) -> list[str]:
    return [entry.path for entry in list_tree(root, on_error=_refuse)]


def _refuse(path: str, error: OSError) -> None:
    raise AssertionError(path) from error


class TestWriteDurably:
    def test_it_replaces_the_content(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        for content in (b"old", b"", b"new" * 1000):
            write_durably(path, content)
            assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]
        assert path.stat().st_mode & 0o777 == 0o600

    def test_it_makes_private_folders(self, tmp_path: Path) -> None:
        path = tmp_path / "one" / "two" / "file"
        write_durably(path, b"x", mode=0o640)
        assert path.stat().st_mode & 0o777 == 0o640
        assert {p.stat().st_mode & 0o777 for p in (path.parent, path.parent.parent)} == {0o700}

    def test_a_failure_leaves_the_old_content_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        write_durably(path, b"old")
        with pytest.raises(TypeError):
            write_durably(path, "text")  # type: ignore[arg-type]
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_longest_name_can_be_written(self, tmp_path: Path) -> None:
        write_durably(tmp_path / ("x" * 255), b"x")

    def test_threads_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        path, contents = tmp_path / "state", [bytes([65 + n]) * 5000 for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda content: write_durably(path, content), contents * 10))
        assert path.read_bytes() in contents
        assert list(tmp_path.iterdir()) == [path]

    def test_after_kill_9_the_old_or_the_new_content_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "state"
        program = """
import sys
from pathlib import Path
from llmvault.core.files import write_durably
while True:
    for letter in b"AB":
        write_durably(Path(sys.argv[1]), bytes([letter]) * 300_000)
"""
        for _ in range(4):
            argv = [sys.executable, "-c", program, str(path)]
            with subprocess.Popen(argv, cwd=ROOT) as writer:
                while not path.exists():
                    time.sleep(0.005)
                time.sleep(0.05)
                writer.kill()
            content = path.read_bytes()
            assert len(content) == 300_000
            assert content[:1] in (b"A", b"B")
            assert len(set(content)) == 1


class TestListTree:
    @given(st.sets(st.lists(names, min_size=1, max_size=3).map(tuple), max_size=12))
    def test_each_folder_comes_before_its_names_which_are_sorted_by_bytes(
        self, tmp_path_factory: pytest.TempPathFactory, files: set[tuple[bytes, ...]]
    ) -> None:
        root = tmp_path_factory.mktemp("tree")
        folders = {path[:depth] for path in files for depth in range(1, len(path))}
        made = {path for path in files if path not in folders}
        made = {path for path in made if not {*path} & {b".", b".."}}
        for path in made:
            full = os.path.join(os.fsencode(root), *path)  # noqa: PTH118
            os.makedirs(os.path.dirname(full), exist_ok=True)  # noqa: PTH103, PTH120
            Path(os.fsdecode(full)).touch()
        above = {path[:depth] for path in made for depth in range(1, len(path))}
        expected = [os.fsdecode(b"/".join(path)) for path in sorted(made | above)]
        assert listed(root) == expected

    def test_a_folder_is_not_sorted_as_if_its_slash_were_a_letter(self, tmp_path: Path) -> None:
        write_tree(tmp_path, {"a/z": b"", "a-b/c": b""})
        assert listed(tmp_path) == ["a", "a/z", "a-b", "a-b/c"]

    def test_every_kind_is_told(self, tmp_path: Path) -> None:
        write_tree(tmp_path, {"dir/file": b"12345"})
        (tmp_path / "link").symlink_to("dir")
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            found = {entry.path: entry for entry in list_tree(tmp_path, on_error=_refuse)}
        assert {path: entry.kind for path, entry in found.items()} == {
            "dir": "dir",
            "dir/file": "file",
            "link": "symlink",
            "fifo": "fifo",
            "socket": "socket",
        }
        assert (found["link"].target, found["link"].size, found["dir"].size) == ("dir", 0, 0)
        assert found["dir/file"].size == 5
        assert entry_of(Path("/dev"), "null").kind == "device"

    def test_what_cannot_be_read_is_handed_over_and_the_walk_goes_on(
        self, open_folder: Path
    ) -> None:
        write_tree(open_folder, {"closed/inside": b"", "open/file": b"", "unsearchable/x": b""})
        (open_folder / "closed").chmod(0o000)
        (open_folder / "unsearchable").chmod(0o644)
        told: dict[str, str] = {}
        with without_privileges():
            found = [
                entry.path
                for entry in list_tree(
                    open_folder,
                    on_error=lambda path, error: told.update({path: str(error.strerror)}),
                )
            ]
        assert found == ["closed", "open", "open/file", "unsearchable"]
        assert told == {"closed": "Permission denied", "unsearchable/x": "Permission denied"}

    def test_a_missing_root_is_handed_over(self, tmp_path: Path) -> None:
        told: list[str] = []
        assert list(list_tree(tmp_path / "x", on_error=lambda path, error: told.append(path))) == []
        assert told == [""]

    def test_a_missing_name_raises(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            entry_of(tmp_path, "absent")


class TestDigests:
    @pytest.mark.parametrize("size", [0, 1, 100_000, (4 << 20) + 1])
    def test_the_digest_is_of_all_bytes(self, tmp_path: Path, size: int) -> None:
        content = os.urandom(size)
        (tmp_path / "file").write_bytes(content)
        counts: list[int] = []
        found = sha256_file(tmp_path / "file", on_bytes=counts.append)
        assert found == hashlib.sha256(content).hexdigest()
        assert sum(counts) == size

    def test_what_cannot_be_read_raises(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="Is a directory"):
            sha256_file(tmp_path)


class TestRemoveTree:
    @pytest.fixture
    def outside(self, open_folder: Path) -> Iterator[Path]:
        """A file beside the tree that is removed."""
        yield write_tree(open_folder, {"outside/file": b"mine"}) / "outside"

    def test_folders_without_permissions_are_removed(
        self, open_folder: Path, outside: Path
    ) -> None:
        tree = open_folder / "tree"
        open_folder.chmod(0o777)
        with without_privileges():
            write_tree(tree, {"a/b/c": b"", "d/e": b""})
            for folder, mode in (("a/b", 0o000), ("a", 0o500), ("d", 0o400), (".", 0o555)):
                (tree / folder).chmod(mode)
            remove_tree(tree)
        assert not tree.exists()

    def test_links_are_removed_and_not_followed(self, open_folder: Path, outside: Path) -> None:
        outside.chmod(0o555)
        tree = write_tree(open_folder / "tree", {"inner/file": b""})
        (tree / "folder").symlink_to(outside)
        (tree / "inner" / "file link").symlink_to(outside / "file")
        remove_tree(tree)
        assert not tree.exists()
        assert (outside / "file").read_bytes() == b"mine"
        assert outside.stat().st_mode & 0o777 == 0o555


def test_private_folders_leave_those_above_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    private_directory(tmp_path / "open" / "one" / "two")
    private_directory(tmp_path / "open" / "one" / "two")
    modes = [p.stat().st_mode & 0o777 for p in (tmp_path / "open").rglob("*")]
    assert modes == [0o700, 0o700]
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o755


def test_two_threads_may_make_the_same_private_folder(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def make(_: int) -> None:
        barrier.wait()
        private_directory(tmp_path / "a" / "b" / "c" / "d")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))
    assert (tmp_path / "a" / "b" / "c" / "d").is_dir()


def test_files_with_holes_are_told_from_others(tmp_path: Path) -> None:
    whole, sparse, empty = (tmp_path / name for name in ("whole", "sparse", "empty"))
    whole.write_bytes(bytes(1 << 20))
    empty.touch()
    with sparse.open("wb") as stream:
        stream.write(b"start")
        stream.truncate(1 << 20)
    assert [has_holes(one) for one in (whole, sparse, empty)] == [False, True, False]
    assert has_holes(tmp_path / "absent"), "what cannot be looked at is left alone"
