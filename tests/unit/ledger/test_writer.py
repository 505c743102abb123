"""Appending: durable, in order, by threads and processes, through any crash."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.keys.store import KeyFiles
from llmvault.ledger.growth import Growth, grow
from llmvault.ledger.merkle import leaf_hash
from llmvault.ledger.writer import TileLedger
from tests.unit.ledger.conftest import ORIGIN, open_at
from tests.unit.ledger.test_merkle import by_definition


def files_below(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def root_of(ledger: TileLedger, size: int) -> bytes:
    return by_definition([leaf_hash(data) for _, data in ledger.files.raw_entries(size)])


def test_entries_come_back_in_order(ledger: TileLedger) -> None:
    assert [ledger.append("drill.started", {"n": n}) for n in range(3)] == [0, 1, 2]
    found = list(ledger.files.entries())
    assert [(one.index, one.kind, one.facts["n"]) for one in found] == [
        (n, "drill.started", n) for n in range(3)
    ]
    assert json.loads(found[0].data).keys() == {"at", "facts", "host", "kind"}
    assert [one.index for one in ledger.files.entries(1, 2)] == [1]
    head = ledger.files.checkpoint().head
    assert (head.origin, head.size) == (ORIGIN, 3)
    assert head.root == root_of(ledger, 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 700), max_size=8))
def test_growth_does_not_depend_on_its_steps(steps: list[int]) -> None:
    entries = [b"%d" % n for n in range(sum(steps))]
    edge, files, at = Growth(0), dict[str, bytes](), 0
    for step in steps:
        edge = grow(edge, entries[at : at + step])
        files |= edge.written
        at += step
    assert edge.root() == by_definition([leaf_hash(entry) for entry in entries])
    at_once = grow(Growth(0), entries)
    assert (at_once.root(), at_once.tiles, at_once.entries) == (
        edge.root(), edge.tiles, edge.entries,
    )  # fmt: skip
    assert at_once.written.items() <= files.items()


@pytest.mark.parametrize("count", [255, 256, 257, 65_536 + 300])
def test_sizes_around_full_tiles(ledger: TileLedger, tmp_path: Path, count: int) -> None:
    ledger.append_all([("t.e", {"n": n}) for n in range(count)])
    assert ledger.append("t.e", {}) == count
    again = open_at(tmp_path)
    assert again.append("t.e", {}) == count + 1
    head = again.files.checkpoint().head
    assert head.root == root_of(again, count + 2)
    proof = again.files.prove(count)
    entry = next(again.files.entries(count))
    assert proof.shows(leaf_hash(entry.data))


def test_threads_share_commits_and_lose_nothing(ledger: TileLedger) -> None:
    given: list[int] = []

    def work(number: int) -> None:
        given.extend(ledger.append("t.e", {"by": number, "n": n}) for n in range(10))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(160))
    by_each: dict[int, list[int]] = {}
    for entry in ledger.files.entries():
        by_each.setdefault(entry.facts["by"], []).append(entry.facts["n"])
    assert by_each == {number: list(range(10)) for number in range(16)}


def append_some(directory: Path, count: int) -> None:
    ledger = open_at(directory)
    for n in range(count):
        ledger.append("t.e", {"n": n})


def test_processes_take_turns(ledger: TileLedger, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_some, args=(tmp_path, 25)) for _ in range(3)]
    for process in processes:
        process.start()
    mine = [ledger.append("t.e", {"n": n}) for n in range(25)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    size = ledger.files.checkpoint().head.size
    assert size == 100
    assert mine == sorted(mine)
    assert ledger.files.checkpoint().head.root == root_of(ledger, 100)


@pytest.mark.parametrize("before", [0, 3, 255, 256, 300])
def test_what_died_before_its_checkpoint_is_written_over(tmp_path: Path, before: int) -> None:
    ledger = open_at(tmp_path)
    if before:
        ledger.append_all([("t.e", {"n": n}) for n in range(before)])
    checkpoint = (tmp_path / "ledger/checkpoint").read_bytes()
    kept = files_below(tmp_path / "ledger")
    ledger.append_all([("t.lost", {"n": n}) for n in range(400)])
    for name, data in kept.items():  # what was outgrown is removed only after the checkpoint
        (tmp_path / "ledger" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ledger" / name).write_bytes(data)
    assert (tmp_path / "ledger/checkpoint").read_bytes() == checkpoint
    again = open_at(tmp_path)
    assert again.append("t.e", {"again": True}) == before
    assert again.append_all([("t.e", {"n": n}) for n in range(300)]) == before + 1
    kinds = {entry.kind for entry in again.files.entries()}
    assert kinds == {"t.e"}
    size = again.files.checkpoint().head.size
    assert again.files.checkpoint().head.root == root_of(again, size)


def test_only_its_owner_may_read_it(ledger: TileLedger, tmp_path: Path) -> None:
    ledger.append("t.e", {})
    for path in (tmp_path / "ledger").rglob("*"):
        if path.is_dir() or path.name != "lock":
            assert path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0, path


def test_a_reader_of_an_older_checkpoint_is_served(ledger: TileLedger) -> None:
    ledger.append_all([("t.e", {"n": n}) for n in range(5)])
    old = ledger.files.checkpoint()
    ledger.append_all([("t.e", {"n": n}) for n in range(500)])
    assert len(list(ledger.files.raw_entries(5))) == 5
    proof = ledger.files.prove(4, old)
    entry = next(ledger.files.entries(4))
    assert proof.shows(leaf_hash(entry.data))
    assert proof.checkpoint == old


def test_a_foreign_checkpoint_is_not_gone_on_with(ledger: TileLedger, tmp_path: Path) -> None:
    ledger.append("t.e", {})
    other = open_at(tmp_path / "other")
    other.append("t.e", {})
    shutil.copy(tmp_path / "other/ledger/checkpoint", tmp_path / "ledger/checkpoint")
    with pytest.raises(IntegrityError, match="not signed by this installation"):
        open_at(tmp_path).append("t.e", {})


def test_tiles_that_do_not_fit_are_not_gone_on_with(ledger: TileLedger, tmp_path: Path) -> None:
    ledger.append_all([("t.e", {"n": n}) for n in range(3)])
    tile = tmp_path / "ledger/tile/0/000.p/3"
    tile.write_bytes(bytes(96))
    with pytest.raises(IntegrityError, match="do not lead to its checkpoint"):
        open_at(tmp_path).append("t.e", {})


def test_a_full_disk_says_so_and_appends_nothing(ledger: TileLedger, tmp_path: Path) -> None:
    ledger.append("t.e", {})
    (tmp_path / "ledger/tile/0/000.p").rename(tmp_path / "aside")
    (tmp_path / "ledger/tile/0/000.p").write_text("in the way")
    with pytest.raises(UnavailableError, match="cannot be written"):
        ledger.append("t.e", {})
    (tmp_path / "ledger/tile/0/000.p").unlink()
    (tmp_path / "aside").rename(tmp_path / "ledger/tile/0/000.p")
    assert ledger.append("t.e", {}) == 1


def test_facts_that_are_no_json_are_refused(ledger: TileLedger) -> None:
    with pytest.raises(TypeError):
        ledger.append("t.e", {"path": Path("/")})
    with pytest.raises(ValueError, match="65,535"):
        ledger.append("t.e", {"text": "x" * 70_000})
    assert ledger.append("t.e", {}) == 0


def test_a_lost_key_is_told_with_the_way_on(ledger: TileLedger, keys: KeyFiles) -> None:
    keys.private_path.unlink()
    with pytest.raises(UnavailableError) as caught:
        ledger.append("t.e", {})
    assert "llmvault keys rotate" in caught.value.next_step
