"""A restored tree compared with the manifest: what differs is found and named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmvault.core.files import list_tree, sha256_file
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.model import FileRecord
from llmvault.restore.verify import TreeVerifier
from tests.vault import write_tree

NOT_UTF8 = os.fsdecode(b"\xff\xfe")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = write_tree(tmp_path / "restored", {"a": b"one", "inner/b": b"two", NOT_UTF8: b"three"})
    (made / "link").symlink_to("a")
    (made / "empty").mkdir(mode=0o755)
    os.mkfifo(made / "fifo")
    for path in ("a", "inner/b"):
        (made / path).chmod(0o640)
    return made


def records_of(root: Path) -> tuple[FileRecord, ...]:
    return tuple(
        FileRecord(
            entry.path,
            entry.kind,
            entry.size,
            entry.mode,
            sha256_file(root / entry.path) if entry.kind == "file" else "",
            entry.target,
        )
        for entry in list_tree(root, on_error=lambda path, error: None)
    )


def verify(root: Path, records: tuple[FileRecord, ...]) -> dict[str, Check]:
    verifier = TreeVerifier(root, "models", records)
    try:
        return {check.name: check for check in verifier.finish()}
    finally:
        verifier.cancel()


def test_a_tree_as_recorded_is_proven(root: Path) -> None:
    checks = verify(root, records_of(root))
    assert [check.verdict for check in checks.values()] == [Verdict.PROVEN] * 2
    assert checks["digests"].detail == "3 files, 11 B: every SHA-256 is as recorded"
    assert checks["tree"].detail.startswith("7 names")


CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "extra file": (lambda r: (r / "new").touch(), "tree", "new: is not in the manifest"),
    "extra folder": (lambda r: (r / "inner/x").mkdir(), "tree", "inner/x: is not in the manifest"),
    "extra link": (lambda r: (r / "l").symlink_to("a"), "tree", "l: is not in the manifest"),
    "missing folder": (lambda r: (r / "empty").rmdir(), "tree", "empty: is missing"),
    "missing link": (lambda r: (r / "link").unlink(), "tree", "link: is missing"),
    "mode": (lambda r: (r / "a").chmod(0o600), "tree", "a: has mode 0600, had 0640"),
    "folder mode": (lambda r: (r / "empty").chmod(0o700), "tree", "has mode 0700, had 0755"),
    "link": (lambda r: relink(r / "link", "inner/b"), "tree", "link: leads to inner/b, led to a"),
    "kind": (lambda r: relink(r / "fifo", "a"), "tree", "fifo: is a symlink, was a fifo"),
    "shorter": (lambda r: (r / "a").write_bytes(b"on"), "tree", "a: has 2 bytes, had 3"),
    "content": (lambda r: (r / "a").write_bytes(b"One"), "digests", "a: SHA-256 is "),
    "odd name": (lambda r: (r / NOT_UTF8).write_bytes(b"Three"), "digests", "\\udcff\\udcfe: SHA"),
    "missing file": (lambda r: (r / "inner/b").unlink(), "digests", "inner/b: No such file"),
}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", CHANGES)
def test_every_difference_fails_and_is_named(root: Path, change: str) -> None:
    happen, check, words = CHANGES[change]
    records = records_of(root)
    happen(root)
    found = verify(root, records)[check]
    assert found.verdict is Verdict.FAILED
    assert words in found.detail


def test_a_file_without_a_recorded_digest_is_never_proven(root: Path) -> None:
    records = tuple(replace(record, sha256="") for record in records_of(root))
    assert "the manifest has no digest of it" in verify(root, records)["digests"].detail


def test_without_files_nothing_is_proven(tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    assert verify(tmp_path / "restored", ())["digests"].verdict is Verdict.UNPROVEN


def test_a_vanished_tree_fails(root: Path) -> None:
    records = records_of(root)
    shutil.rmtree(root)
    assert {check.verdict for check in verify(root, records).values()} == {Verdict.FAILED}


def test_folders_above_named_files_need_no_record(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "restored", {"deep/er/file": b"1"})
    records = tuple(record for record in records_of(root) if record.kind == "file")
    assert verify(root, records)["tree"].verdict is Verdict.PROVEN


def test_many_differences_are_counted(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "restored", {f"f{n}": b"1" for n in range(9)})
    records = records_of(root)
    shutil.rmtree(root)
    root.mkdir()
    assert verify(root, records)["tree"].detail.endswith("; and 4 more")


def test_a_file_is_hashed_once_when_it_is_complete_and_no_more(tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    root = write_tree(tmp_path / "restored", {"large": large, "small": b"1"})
    verifier = TreeVerifier(root, "models", records_of(root))
    for path in ("large", "large", "small", "small", "unknown"):
        verifier.complete(path)
    verifier.finish()
    (root / "large").write_bytes(bytes(3 << 20))
    (root / "small").write_bytes(b"2")
    digests, _ = verifier.finish()
    verifier.cancel()
    assert digests.verdict is Verdict.PROVEN


@pytest.mark.parametrize("count", [255, 256, 257, 600])
def test_one_wrong_file_among_many_small_ones_is_found(tmp_path: Path, count: int) -> None:
    root = write_tree(tmp_path / "restored", {f"f{n:03}": b"%d" % n for n in range(count)})
    records = records_of(root)
    (root / f"f{count - 1:03}").write_bytes(b"x" * len(str(count - 1)))
    digests = verify(root, records)["digests"]
    assert (digests.verdict, digests.detail.split(":")[0]) == (Verdict.FAILED, f"f{count - 1:03}")
