"""Which files of a tree are read again, by restic's own figures."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from llmvault.backup.model import SourceResult
from llmvault.core.verdict import Verdict
from llmvault.recovery_points.find import local_manifest
from tests.fakes.sources import FolderSource
from tests.vault import PLAN, Vault, write_tree

pytestmark = pytest.mark.integration

BIG = os.urandom(3 << 20)
FILES = {"a.txt": b"one", "inner/b.txt": b"two", "inner/weights.bin": BIG}


@pytest.fixture
def root(vault: Vault, tmp_path: Path) -> Path:
    """A protected folder of which one recovery point has been taken."""
    made = write_tree(tmp_path / "live", FILES)
    vault.add(FolderSource("models", made))
    first, manifest = vault.backup()
    assert first.verdict is Verdict.PROVEN
    assert "compared" not in manifest.source("models").reason
    assert vault.summary(first.sources[0])["files_new"] == 3
    return made


def again(vault: Vault, root: Path | None = None) -> SourceResult:
    """Back up once more, from another place if one is given; it must be proven."""
    if root is not None:
        vault.add(FolderSource("models", root))
    result, _ = vault.backup()
    assert result.verdict is Verdict.PROVEN, result.sources
    assert result.sources[0].sha256_verified == 3
    return result.sources[0]


def unmodified(vault: Vault, result: SourceResult) -> int:
    return vault.summary(result).get("files_unmodified", 0)


def set_times(path: Path, like: os.stat_result) -> None:
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def test_the_first_backup_records_every_name(vault: Vault, root: Path) -> None:
    manifest = local_manifest(vault.memory, vault.memory.last_run(PLAN).recovery_point)
    assert manifest
    records = {record.path: record for record in manifest.files["models"]}
    assert list(records) == ["a.txt", "inner", "inner/b.txt", "inner/weights.bin"]
    assert records["a.txt"].sha256 == hashlib.sha256(b"one").hexdigest()
    assert (records["inner"].kind, records["inner"].sha256) == ("dir", "")
    assert records["inner/weights.bin"].size == len(BIG)


def test_an_unchanged_tree_is_not_read_again(vault: Vault, root: Path) -> None:
    result = again(vault)
    assert unmodified(vault, result) == 3
    assert "compared with rp-" in result.reason


def test_only_the_changed_file_is_read(vault: Vault, root: Path) -> None:
    (root / "a.txt").write_bytes(b"another")
    assert unmodified(vault, again(vault)) == 2


def test_a_touched_file_is_read_and_nothing_is_stored(vault: Vault, root: Path) -> None:
    (root / "inner" / "weights.bin").touch()
    result = again(vault)
    assert unmodified(vault, result) == 2
    assert vault.summary(result).get("data_blobs", 0) == 0


def test_a_renamed_tree_is_not_read_again(vault: Vault, root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "elsewhere")
    assert unmodified(vault, again(vault, tmp_path / "elsewhere")) == 3


def test_a_copied_tree_is_not_read_again(vault: Vault, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    assert (tmp_path / "copy" / "a.txt").stat().st_ino != (root / "a.txt").stat().st_ino
    shutil.rmtree(root)
    assert unmodified(vault, again(vault, tmp_path / "copy")) == 3
    assert unmodified(vault, again(vault)) == 3


@pytest.mark.parametrize("name", ["a.txt", "inner/weights.bin"])
def test_a_file_replaced_in_a_copied_tree_is_noticed(
    vault: Vault, root: Path, tmp_path: Path, name: str
) -> None:
    """Same size and modification time, as after a swap that keeps times; the content tells."""
    shutil.copytree(root, tmp_path / "copy")
    replaced = tmp_path / "copy" / name
    before = replaced.stat()
    replaced.write_bytes(b"X" + replaced.read_bytes()[1:])
    set_times(replaced, before)
    assert unmodified(vault, again(vault, tmp_path / "copy")) == 0
    restored = vault.restore(tmp_path / "restored")
    assert restored.verdict is Verdict.PROVEN
    assert (tmp_path / "restored" / "models" / name).read_bytes()[:1] == b"X"


def test_a_file_replaced_in_place_with_its_old_times_is_noticed(vault: Vault, root: Path) -> None:
    """The change time cannot be set back, and it counts as long as one file is unchanged."""
    weights = root / "inner" / "weights.bin"
    before = weights.stat()
    middle = len(BIG) // 3  # in none of the samples
    weights.write_bytes(BIG[:middle] + b"X" + BIG[middle + 1 :])
    set_times(weights, before)
    assert unmodified(vault, again(vault)) == 2


def test_a_moved_tree_with_a_new_file_reads_only_that(
    vault: Vault, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / "a.txt").write_bytes(b"longer than before")
    assert unmodified(vault, again(vault, tmp_path / "copy")) == 2


def test_without_file_states_everything_is_hashed_but_not_stored_again(
    vault: Vault, root: Path
) -> None:
    shutil.rmtree(vault.state)
    result = again(vault)
    assert unmodified(vault, result) == 3
    assert vault.summary(result).get("data_blobs", 0) == 0


def test_a_forgotten_parent_is_replaced_by_the_newest_that_is_left(
    vault: Vault, root: Path
) -> None:
    kept = vault.memory.last_run(PLAN).parents["models"]["primary"]
    (root / "a.txt").write_bytes(b"second")
    forgotten = again(vault)
    vault.restic("forget", forgotten.snapshot)
    result = again(vault)
    assert unmodified(vault, result) == 2, "compared with the older snapshot"
    assert vault.restic("cat", "snapshot", result.snapshot)["parent"] == kept


def test_when_every_parent_is_forgotten_everything_is_read(vault: Vault, root: Path) -> None:
    for snapshot in vault.repositories["primary"].snapshots():
        vault.restic("forget", snapshot.id)
    result = again(vault)
    assert unmodified(vault, result) == 0
    assert "parent" not in vault.restic("cat", "snapshot", result.snapshot)


def test_a_repository_that_missed_a_run_is_compared_strictly(
    vault: Vault, root: Path, tmp_path: Path
) -> None:
    """It does not know what the file states of that run say, so a moved tree is read into it."""
    second = vault.add_repository("second")
    again(vault)
    offline = vault.place("second").rename(tmp_path / "offline")
    weights = root / "inner" / "weights.bin"
    before = weights.stat()
    weights.write_bytes(BIG[:-1] + b"!")
    set_times(weights, before)
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    offline.rename(vault.place("second"))

    shutil.copytree(root, tmp_path / "copy")
    found = again(vault, tmp_path / "copy")
    assert unmodified(vault, found) == 3
    vault.repositories = {"second": second}
    assert vault.restore(tmp_path / "restored").verdict is Verdict.PROVEN
    assert (tmp_path / "restored/models/inner/weights.bin").read_bytes() == BIG[:-1] + b"!"


def test_named_paths_alone_are_read(vault: Vault, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "live", {"a-b/c": b"1", "a/c": b"2", "a/d": b"3"})
    vault.add(FolderSource("configs", root, paths=("a-b/c", "a/c")))
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert [record.path for record in manifest.files["configs"]] == ["a/c", "a-b/c"]
    restored = vault.restore(tmp_path / "restored")
    assert restored.verdict is Verdict.FAILED  # the fake's own check counted every file
    assert [c.name for c in restored.checks if c.verdict is Verdict.FAILED] == ["structure"]
    assert not (tmp_path / "restored" / "configs" / "a" / "d").exists()
