"""The journal of a run's snapshots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmvault.snapshotters.journal import dead_journals, new_journal


def test_what_is_intended_is_read_back(tmp_path: Path) -> None:
    with new_journal(tmp_path / "state", "rp-1") as journal:
        journal.intend("zfs", "tank/srv@a b")
        journal.intend("btrfs", "/srv/ö")
        assert journal.intended() == [("zfs", "tank/srv@a b"), ("btrfs", "/srv/ö")]
        assert journal.path.stat().st_mode & 0o077 == 0


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    with new_journal(tmp_path, "rp-1") as journal:
        journal.intend("zfs", "tank/srv@a")
        with journal.path.open("a") as stream:
            stream.write('["zfs", "tank/')
        assert journal.intended() == [("zfs", "tank/srv@a")]


def test_the_journal_of_a_living_run_is_not_touched(tmp_path: Path) -> None:
    with new_journal(tmp_path, "rp-1") as journal:
        with dead_journals(tmp_path) as dead:
            assert dead == ()
        journal.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_journal_of_a_dead_run_is_found(tmp_path: Path) -> None:
    with new_journal(tmp_path, "rp-1") as journal:
        journal.intend("zfs", "tank/srv@a")
    with dead_journals(tmp_path) as dead:
        assert [one.intended() for one in dead] == [[("zfs", "tank/srv@a")]]
        dead[0].finish()
    assert list(tmp_path.iterdir()) == []


def test_nothing_below_a_mount_point_is_ever_removed(tmp_path: Path) -> None:
    with new_journal(tmp_path, "rp-1") as journal:
        (journal.place / "view").mkdir()
        (journal.place / "view" / "file").write_bytes(b"x")
        with pytest.raises(OSError, match="not empty"):
            journal.finish()
        assert (journal.place / "view" / "file").exists()
        assert journal.path.exists()


def test_where_there_is_no_directory_nobody_died(tmp_path: Path) -> None:
    with dead_journals(tmp_path / "none") as dead:
        assert dead == ()


def test_a_journal_that_cannot_be_written_stops_what_it_is_for(tmp_path: Path) -> None:
    from llmvault.core.errors import UnavailableError

    with new_journal(tmp_path, "rp-1") as journal:
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("no /dev/full")
        stream = os.fdopen(os.open(full, os.O_WRONLY), "w")
        with pytest.raises(UnavailableError, match="cannot be written"):
            type(journal)(journal.path, stream).intend("zfs", "tank/srv@a")
        with pytest.raises(OSError, match="No space"):
            stream.close()
