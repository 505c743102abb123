"""Directories that are made anew take the place of the old ones, or nothing changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError
from llmvault.sources.interface import Doomed, Point, RecordSet, RecordsTarget, RecordsView
from llmvault.sources.stores.erasing import (
    Remaking,
    erase_by_remaking,
    going,
    mend,
    put_in_place,
    refuse_in_use,
)
from tests.fakes.record_store import RecordStore, numbered


@pytest.fixture
def live(tmp_path: Path) -> Path:
    live = tmp_path / "store"
    live.mkdir()
    (live / "data").write_text("old")
    return live


class Target(RecordStore):
    """A fresh store in memory; one that `loses` drops the first point of all."""

    def __init__(self, *, loses: bool = False) -> None:
        super().__init__()
        self._loses = loses

    def create(self, wanted: RecordSet) -> str:
        self.sets[wanted.name] = wanted
        self.held[wanted.name] = {}
        return wanted.name

    def add(self, name: str, points: Iterator[Point]) -> None:
        self.put(name, *list(points)[self._loses :])

    def kept_form(self, name: str, point: Point) -> Point:
        return point

    def finish(self, name: str) -> None:
        """Do nothing."""


def remaking(live: Path, *, loses: bool = False) -> tuple[Remaking, RecordStore]:
    store = RecordStore()
    store.define("passages")
    store.put("passages", *(numbered(number, person=f"w{number % 2}") for number in range(6)))

    @contextmanager
    def reading(scratch: Path) -> Iterator[RecordsView]:
        yield store

    @contextmanager
    def making(address: str) -> Iterator[RecordsTarget]:
        target = Target(loses=loses)
        Path(address).mkdir()
        yield target
        (Path(address) / "data").write_text(" ".join(target.held["passages"]))

    return Remaking(live, "the store", reading, making), store


def test_a_store_is_made_anew_without_some_points(live: Path, tmp_path: Path) -> None:
    how, _ = remaking(live)
    chosen = going("store", [Doomed(subjects=frozenset({"w1"}))], "person")
    erased = erase_by_remaking(how, chosen, tmp_path)
    assert erased.deleted == {"passages": 3}
    assert (live / "data").read_text() == "p000000 p000002 p000004"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_new_store_that_lost_something_is_thrown_away(live: Path, tmp_path: Path) -> None:
    how, _ = remaking(live, loses=True)
    chosen = going("store", [Doomed("passages", ids=frozenset({"p000001"}))], "")
    with pytest.raises(IntegrityError, match="not the 5 that stay"):
        erase_by_remaking(how, chosen, tmp_path)
    assert (live / "data").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_store_that_a_program_has_open_is_refused(live: Path, tmp_path: Path) -> None:
    how, _ = remaking(live)
    program = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, str(live / "data")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        with pytest.raises(RefusedError, match=f"process {user.pid} has it open"):
            erase_by_remaking(how, going("store", [Doomed("passages")], ""), tmp_path)
        user.communicate()
    refuse_in_use(live, "the store")
    assert (live / "data").read_text() == "old"


def test_a_store_that_was_written_to_meanwhile_stays(live: Path, tmp_path: Path) -> None:
    how, store = remaking(live)
    before = store.record_sets

    def writing() -> object:
        (live / "more").write_text("meanwhile")
        return before()

    store.record_sets = writing  # type: ignore[method-assign,assignment]
    with pytest.raises(RefusedError, match="written to meanwhile"):
        erase_by_remaking(how, going("store", [Doomed("passages")], ""), tmp_path)
    assert (live / "more").read_text() == "meanwhile"


def test_a_run_that_was_killed_is_put_right(live: Path, tmp_path: Path) -> None:
    live.rename(tmp_path / ".llmvault-before-erasing-store")
    (tmp_path / ".llmvault-erasing-store").mkdir()
    mend(live)
    assert (live / "data").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_run_that_was_killed_while_tidying_is_finished(live: Path, tmp_path: Path) -> None:
    (tmp_path / ".llmvault-before-erasing-store").mkdir()
    mend(live)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_new_directory_has_the_mode_of_the_old(live: Path, tmp_path: Path) -> None:
    live.chmod(0o751)
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    put_in_place(fresh, live)
    assert live.stat().st_mode & 0o777 == 0o751
    assert not fresh.exists()


def test_orders_that_mean_nothing_are_refused() -> None:
    with pytest.raises(PolicyError, match="which field names a person"):
        going("store", [Doomed(subjects=frozenset({"anna"}))], "")
    with pytest.raises(RefusedError, match="without their collection"):
        going("store", [Doomed(ids=frozenset({"1"}))], "who")
