"""Hashing beside restic: never too far ahead, every file once, nothing lost."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.backup.digests import (
    SAMPLED_FROM,
    WINDOW,
    Digest,
    TreeHasher,
    same_content,
    sample_of,
)
from llmvault.core import files
from llmvault.core.entries import Entry
from llmvault.core.files import list_tree
from tests.vault import write_tree

PIECE = files._READ_SIZE


def entries(root: Path) -> list[Entry]:
    listed = list_tree(root, on_error=lambda path, error: None)
    return [entry for entry in listed if entry.kind == "file"]


def starts(listed: list[Entry]) -> dict[str, int]:
    found, position = {}, 0
    for entry in listed:
        found[entry.path] = position
        position += entry.size
    return found


@pytest.fixture
def hasher_of() -> Iterator[Callable[..., TreeHasher]]:
    """Make hashers; those that still run are cancelled at the end."""
    made: list[TreeHasher] = []

    def make(root: Path, listed: list[Entry] | None = None, *, window: int = WINDOW) -> TreeHasher:
        wanted = entries(root) if listed is None else listed
        hasher = TreeHasher(root, wanted, starts=starts(entries(root)), window=window)
        made.append(hasher)
        return hasher

    yield make
    for hasher in made:
        hasher.cancel()


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_every_file_is_hashed(tmp_path: Path, hasher_of: Callable[..., TreeHasher]) -> None:
    contents = {
        "a": b"",
        "b/c": b"x",
        "d": os.urandom(SAMPLED_FROM + 1),
        os.fsdecode(b"\xff"): b"y",
    }
    hasher = hasher_of(write_tree(tmp_path, contents))
    hasher.start()
    hasher.finish()
    assert {path: found.sha256 for path, found in hasher.digests.items()} == {
        path: digest_of(content) for path, content in contents.items()
    }
    assert {path for path, found in hasher.digests.items() if found.sample} == {"d"}
    assert hasher.unreadable == {}


def test_it_stays_within_the_window(tmp_path: Path, hasher_of: Callable[..., TreeHasher]) -> None:
    """What it has hashed is at most the window and the piece in its hands before restic."""
    root = write_tree(tmp_path, {f"{number}": bytes(PIECE) for number in range(12)})
    hasher = hasher_of(root, window=3 * PIECE)
    hasher.start()
    for read in range(0, 9 * PIECE, PIECE):
        hasher.follow(read)
        wait_until(lambda: len(hasher.digests) >= read // PIECE + 3)  # noqa: B023
        time.sleep(0.02)
        assert len(hasher.digests) <= read // PIECE + 4
    hasher.finish()
    assert len(hasher.digests) == 12


def test_unchanged_files_before_count_as_read(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    """Only the last file is hashed, and restic must first get past the others."""
    root = write_tree(tmp_path, {"a": bytes(10 * PIECE), "b": bytes(PIECE)})
    hasher = hasher_of(root, entries(root)[1:], window=PIECE)
    hasher.start()
    time.sleep(0.05)
    assert hasher.digests == {}
    hasher.follow(10 * PIECE)
    wait_until(lambda: "b" in hasher.digests)


def test_restic_going_back_does_not_count(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    """Of several repositories the one that is furthest leads; another tells smaller numbers."""
    root = write_tree(tmp_path, {"a": bytes(8 * PIECE)})
    hasher = hasher_of(root, window=PIECE)
    hasher.start()
    hasher.follow(8 * PIECE)
    hasher.follow(PIECE)
    wait_until(lambda: "a" in hasher.digests)


def test_cancelling_stops_a_waiting_hasher(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    root = write_tree(tmp_path, {"a": bytes(8 * PIECE), "b": b"x"})
    hasher = hasher_of(root, window=PIECE)
    hasher.start()
    hasher.cancel()
    hasher.finish()
    assert hasher.digests == {}


def test_cancelling_before_the_start_is_harmless(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    hasher_of(tmp_path).cancel()


def test_what_cannot_be_read_is_named_and_the_rest_is_hashed(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    root = write_tree(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    listed = entries(root)
    (root / "b").unlink()
    hasher = hasher_of(root, listed)
    hasher._starts = {entry.path: 0 for entry in listed}
    hasher.start()
    hasher.finish()
    assert hasher.digests.keys() == {"a", "c"}
    assert hasher.unreadable == {"b": "No such file or directory"}


def test_restic_may_tell_from_several_threads(
    tmp_path: Path, hasher_of: Callable[..., TreeHasher]
) -> None:
    root = write_tree(tmp_path, {f"{number}": bytes(PIECE) for number in range(20)})
    hasher = hasher_of(root, window=PIECE)
    hasher.start()

    def follow(step: int) -> None:
        for read in range(0, 20 * PIECE, step):
            hasher.follow(read)

    threads = [threading.Thread(target=follow, args=(PIECE // part,)) for part in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hasher.finish()
    assert len(hasher.digests) == 20


class TestSamples:
    @pytest.mark.parametrize("position", [0, SAMPLED_FROM // 2, SAMPLED_FROM - 1])
    def test_first_middle_and_last_bytes_count(self, tmp_path: Path, position: int) -> None:
        content = bytearray(SAMPLED_FROM)
        (tmp_path / "f").write_bytes(content)
        before = sample_of(str(tmp_path / "f"), len(content))
        content[position] ^= 1
        (tmp_path / "f").write_bytes(content)
        assert sample_of(str(tmp_path / "f"), len(content)) != before

    def test_small_files_have_none(self, tmp_path: Path) -> None:
        assert sample_of(str(tmp_path / "absent"), SAMPLED_FROM - 1) == ""


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=4), min_size=1), st.data())
def test_content_is_the_same_only_when_every_small_file_is(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], data: st.DataObject
) -> None:
    root = write_tree(tmp_path_factory.mktemp("tree"), contents)
    listed = entries(root)
    known = {path: Digest(digest_of(content), "") for path, content in contents.items()}
    assert same_content(root, listed, known)
    changed = data.draw(st.sampled_from(sorted(contents)))
    (root / changed).write_bytes(contents[changed] + b"!")
    assert not same_content(root, listed, known)
    (root / changed).unlink()
    assert not same_content(root, listed, known)


def test_large_files_are_compared_by_their_samples(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"big": bytes(SAMPLED_FROM)})
    listed = entries(root)
    known = {"big": Digest("anything", sample_of(str(root / "big"), SAMPLED_FROM))}
    assert same_content(root, listed, known)
    (root / "big").write_bytes(b"X" + bytes(SAMPLED_FROM - 1))
    assert not same_content(root, listed, known)
