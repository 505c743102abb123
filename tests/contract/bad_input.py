"""What every driver of a store must do with bad input: a clear error, nothing green, nothing left.

Bound beside :class:`tests.contract.source.SourceContract`, to the same ``example``.
"""

from __future__ import annotations

import math
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, VaultError
from llmvault.core.verdict import Verdict, combine
from llmvault.sources.interface import (
    ImportsRecords,
    Loads,
    Opens,
    Point,
    RecordSet,
    RecordsTarget,
    VectorField,
)
from tests.contract.source import SourceExample, captured_once, through_json
from tests.filesystems import need

LARGE = "x" * (16 << 20)


@contextmanager
def small_filesystem(place: Path, kib: int) -> Iterator[Path]:
    """Mount a filesystem in memory that is soon full."""
    need("mount", "umount")
    place.mkdir()
    options = f"size={kib}k,mode=700"
    done = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no filesystem can be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(("umount", str(place)), check=True)


class BadInputContract:
    """For drivers of stores that are files and are restored into files."""

    def test_a_disk_that_fills_while_it_is_captured(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        before = _state(example)
        with small_filesystem(tmp_path / "small", 8) as small:
            (small / "staging").mkdir()
            with (
                pytest.raises(UnavailableError) as raised,
                example.source.capture(small / "staging"),
            ):
                pytest.fail("what did not fit was captured")
        told = f"{raised.value} {raised.value.next_step}".lower()
        assert "space" in told or "full" in told, told
        assert _state(example) == before

    def test_a_disk_that_fills_while_it_is_restored(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        captured_once(self, example, tmp_path / "restored", tmp_path)
        assert isinstance(example.source, Loads)
        with small_filesystem(tmp_path / "small", 8) as small:
            with pytest.raises(VaultError) as raised:
                example.source.load(tmp_path / "restored", str(small / "new.db"))
            assert raised.value.cause
            assert not list(small.iterdir())

    def test_a_target_in_use_is_refused(self, example: SourceExample, tmp_path: Path) -> None:
        captured_once(self, example, tmp_path / "restored", tmp_path)
        assert isinstance(example.source, Loads)
        used = tmp_path / "used.db"
        used.mkdir()
        (used / "of somebody").write_text("else")
        with pytest.raises(RefusedError) as raised:
            example.source.load(tmp_path / "restored", str(used))
        assert raised.value.next_step
        assert [path.name for path in used.iterdir()] == ["of somebody"]

    def test_the_live_store_is_no_target(self, example: SourceExample, tmp_path: Path) -> None:
        captured_once(self, example, tmp_path / "restored", tmp_path)
        before = _state(example)
        assert isinstance(example.source, Loads)
        with pytest.raises(RefusedError):
            example.source.load(tmp_path / "restored", example.source.location())
        assert _state(example) == before

    def test_a_capture_whose_files_are_empty_is_never_proven(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        recorded, _ = captured_once(self, example, restored, tmp_path)
        for path in restored.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)
        checks = example.source.check(restored, through_json(recorded))
        assert combine(check.verdict for check in checks) is not Verdict.PROVEN
        (tmp_path / "scratch").mkdir()
        assert isinstance(example.source, Opens)
        counts = {facts.name: facts.count for facts in recorded.collections}
        try:
            with example.source.open_restored(restored, tmp_path / "scratch") as store:
                found = {facts.name: facts.count for facts in store.describe()}
        except VaultError as error:
            found = {}
            assert error.cause
        assert found != counts


class AwkwardPointsContract:
    """For drivers whose stores are made of points: each is kept as it is, or told of."""

    def test_awkward_points_are_kept_or_refused(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        nan = struct.pack("<4f", 1.0, math.nan, 2.0, 3.0)
        fine = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)
        awkward = {
            "a vector of NaN": Point("1", {"": nan}, {"n": 1}),
            "16 MiB": Point("1", {"": fine}, {"t": LARGE}),
            "no UTF-8": Point("1", {"": fine}, {"t": "\udcff", "b": b"\xff\x00"}),
            "nothing": Point("1", {"": fine}, {}),
        }
        assert isinstance(example.source, ImportsRecords)
        (tmp_path / "scratch").mkdir()
        told: dict[str, VaultError] = {}
        left = list(awkward)
        while left:
            try:
                with example.source.private_target(tmp_path / "scratch") as target:
                    while left:
                        _put_and_compare(target, what := left.pop(0), awkward[what])
            except VaultError as error:
                told[what] = error
            assert not list((tmp_path / "scratch").iterdir())
        assert "nothing" not in told
        for refusal in told.values():
            assert refusal.thing
            assert LARGE[:1000] not in str(refusal)

    def test_another_dimension_is_refused(self, example: SourceExample, tmp_path: Path) -> None:
        assert isinstance(example.source, ImportsRecords)
        (tmp_path / "scratch").mkdir()
        point = Point("1", {"": struct.pack("<2f", 1.0, 2.0)}, {})
        with (
            pytest.raises(IntegrityError, match="2 values"),
            example.source.private_target(tmp_path / "scratch") as target,
        ):
            name = target.create(_set("points", 4))
            target.add(name, iter([point]))
            target.finish(name)
        assert not list((tmp_path / "scratch").iterdir())


def _put_and_compare(target: RecordsTarget, what: str, point: Point) -> None:
    name = target.create(_set(what.replace(" ", "_"), 4))
    target.add(name, iter([point]))
    target.finish(name)
    (found,) = target.points(name)
    kept = target.kept_form(name, point)
    assert (found.id, dict(found.payload)) == (kept.id, dict(kept.payload)), what
    exact = {one.name: one.exact for one in target.record_sets()}[name]
    assert not exact or list(found.vectors.values()) == list(kept.vectors.values()), what


def _set(name: str, dimension: int) -> RecordSet:
    return RecordSet(name, "other", vectors=(VectorField("", dimension, "l2", {"kind": "flat"}),))


def _state(example: SourceExample) -> object:
    assert example.directory is not None
    return {
        path.relative_to(example.directory).as_posix(): path.read_bytes()
        for path in sorted(example.directory.rglob("*"))
        if path.is_file()
    }
