"""A tree that seems to have moved is believed only after looking inside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmvault.backup.digests import SAMPLED_FROM, sample_of
from llmvault.backup.listing import list_capture
from llmvault.backup.plan import Judgement
from llmvault.backup.tree import judge_tree
from llmvault.core.files import sha256_file
from llmvault.recovery_points.model import FileState
from llmvault.sources.interface import TreeCapture
from tests.vault import write_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "live", {"small": b"one", "big": bytes(2 * SAMPLED_FROM)})


@pytest.fixture
def before(root: Path) -> dict[str, FileState]:
    return {
        entry.path: FileState(
            entry.size,
            entry.mtime_ns,
            entry.ctime_ns,
            entry.inode,
            sha256_file(root / entry.path),
            sample_of(str(root / entry.path), entry.size),
        )
        for entry in list_capture(TreeCapture(root)).files
    }


@pytest.fixture
def copy(root: Path, before: dict[str, FileState], tmp_path: Path) -> Path:
    shutil.copytree(root, tmp_path / "copy")
    return tmp_path / "copy"


def judged(root: Path, before: dict[str, FileState]) -> Judgement:
    return judge_tree(root, list_capture(TreeCapture(root)).files, before)


def overwrite(path: Path, position: int) -> None:
    """Change one byte and set the times back."""
    seen = path.stat()
    with path.open("r+b") as stream:
        stream.seek(position)
        stream.write(b"X")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def test_the_rules(root: Path, copy: Path, before: dict[str, FileState]) -> None:
    assert judged(root, {}).rule == "first"
    assert judged(root, before).rule == "strict"
    assert (judged(copy, before).rule, judged(copy, before).changed) == ("moved", ())


@pytest.mark.parametrize(
    ("name", "position"),
    [("small", 2), ("big", 0), ("big", SAMPLED_FROM), ("big", 2 * SAMPLED_FROM - 1)],
)
def test_other_content_makes_everything_be_read(
    copy: Path, before: dict[str, FileState], name: str, position: int
) -> None:
    overwrite(copy / name, position)
    judgement = judged(copy, before)
    assert judgement.rule == "strict"
    assert {entry.path for entry in judgement.changed} == {"small", "big"}


def test_the_price_that_the_decision_names(copy: Path, before: dict[str, FileState]) -> None:
    """Outside of the samples of a large file in a moved tree, a change with old times is missed."""
    overwrite(copy / "big", SAMPLED_FROM // 2)
    assert judged(copy, before).rule == "moved"


def test_a_file_that_cannot_be_read_is_not_believed(
    copy: Path, before: dict[str, FileState]
) -> None:
    files = list_capture(TreeCapture(copy)).files
    (copy / "small").unlink()
    assert judge_tree(copy, files, before).rule == "strict"
