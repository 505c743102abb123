"""What was read back, what is next, and whether copies are 3-2-1-1-0."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.copies.model import CopyFacts, Coverage, PartRead, Placed
from llmvault.copies.plan import coverage, judge_copies, parts_to_read
from llmvault.core.verdict import Verdict

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = timedelta(days=30)


def read(part: int, days_ago: float, verdict: Verdict = Verdict.PROVEN, of: int = 3) -> PartRead:
    errors = int(verdict is Verdict.FAILED)
    return PartRead(part, of, NOW - timedelta(days=days_ago), verdict, errors)


def test_everything_read_in_time_is_proven() -> None:
    known = coverage([read(1, 20), read(2, 10), read(3, 1)], 3, MONTH, NOW)
    assert (known.read, known.verdict, known.next) == (3, Verdict.PROVEN, 1)
    assert known.oldest == NOW - timedelta(days=20)
    assert parts_to_read(known, at_least=1) == (1,)


def test_what_was_never_read_is_next_and_not_proven() -> None:
    known = coverage([read(1, 1)], 3, MONTH, NOW)
    assert (known.read, known.verdict, known.next, known.oldest) == (1, Verdict.UNPROVEN, 2, None)


def test_what_is_overdue_is_read_besides() -> None:
    known = coverage([read(1, 40), read(2, 35), read(3, 1)], 3, MONTH, NOW)
    assert known.overdue == (1, 2)
    assert known.verdict is Verdict.UNPROVEN
    assert parts_to_read(known, at_least=1) == (1, 2)
    assert set(parts_to_read(known, at_least=3)) == {1, 2, 3}


def test_damage_fails_until_the_part_is_sound_again() -> None:
    bad = [read(1, 3), read(2, 2), read(3, 3), read(3, 1, Verdict.FAILED)]
    assert coverage(bad, 3, MONTH, NOW).verdict is Verdict.FAILED
    assert coverage(bad, 3, MONTH, NOW).errors == 1
    assert coverage([*bad, read(3, 0.5)], 3, MONTH, NOW).verdict is Verdict.PROVEN


def test_readings_that_prove_nothing_do_not_count() -> None:
    unreachable = [read(part, 1, Verdict.UNPROVEN) for part in (1, 2, 3)]
    assert coverage(unreachable, 3, MONTH, NOW).read == 0
    other_parts = [read(part, 1, of=30) for part in range(1, 31)]
    assert coverage(other_parts, 3, MONTH, NOW).read == 0
    future = [read(part, -1) for part in (1, 2, 3)]
    assert coverage(future, 3, MONTH, NOW).verdict is Verdict.UNPROVEN


@given(st.integers(1, 40), st.integers(1, 40))
def test_in_turn_every_part_is_read(parts: int, at_least: int) -> None:
    readings: list[PartRead] = []
    runs = 0
    while coverage(readings, parts, MONTH, NOW).verdict is not Verdict.PROVEN:
        known = coverage(readings, parts, MONTH, NOW)
        for part in parts_to_read(known, at_least=at_least):
            at = NOW - timedelta(minutes=len(readings))
            readings.append(PartRead(part, parts, at, Verdict.PROVEN, 0))
        runs += 1
        assert runs <= parts
    assert {one.part for one in readings} == set(range(1, parts + 1))


SOUND = Coverage(3, 3, NOW, (), 1, 0, Verdict.PROVEN)
LIVE = Placed("office", "ops", "disk")
NEAR = CopyFacts("near", LIVE, True, False, "no lock is declared", SOUND)
FAR = CopyFacts("far", Placed("cloud", "backup", "object-store"), True, True, "", SOUND)


def judged(live: Placed, *copies: CopyFacts) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in judge_copies(live, copies)}


def test_all_five_demands_are_proven() -> None:
    assert set(judged(LIVE, NEAR, FAR).values()) == {Verdict.PROVEN}


def test_an_offline_copy_needs_no_lock() -> None:
    tape = replace(FAR, immutable=False, place=Placed("vault", "backup", "tape", offline=True))
    assert judged(LIVE, NEAR, tape)["immutable"] is Verdict.PROVEN


@pytest.mark.parametrize(
    ("demand", "copies"),
    [
        ("copies", (FAR,)),
        ("copies", (NEAR, replace(FAR, holds=False))),
        ("media", (NEAR, replace(FAR, place=Placed("cloud", "backup", "disk")))),
        ("elsewhere", (NEAR, replace(FAR, place=Placed("office", "backup", "object-store")))),
        ("elsewhere", (NEAR, replace(FAR, place=Placed("cloud", "ops", "object-store")))),
        ("immutable", (NEAR, replace(FAR, immutable=False, why="a lock lapsed"))),
        ("no-errors", (NEAR, replace(FAR, coverage=replace(SOUND, verdict=Verdict.FAILED)))),
    ],
)
def test_what_is_missing_fails(demand: str, copies: tuple[CopyFacts, ...]) -> None:
    assert judged(LIVE, *copies)[demand] is Verdict.FAILED


@pytest.mark.parametrize(
    ("demand", "copies"),
    [
        ("copies", (NEAR, replace(FAR, holds=None))),
        ("media", (NEAR, replace(FAR, place=Placed("cloud", "backup", "")))),
        ("elsewhere", (NEAR, replace(FAR, place=Placed("", "", "object-store")))),
        ("immutable", (NEAR, replace(FAR, immutable=None, why="not attacked"))),
        ("no-errors", (NEAR, replace(FAR, coverage=replace(SOUND, verdict=Verdict.UNPROVEN)))),
    ],
)
def test_what_is_not_known_is_unproven(demand: str, copies: tuple[CopyFacts, ...]) -> None:
    assert judged(LIVE, *copies)[demand] is Verdict.UNPROVEN


def test_nothing_declared_and_nothing_backed_up_proves_nothing() -> None:
    nowhere = Placed("", "", "")
    assert Verdict.PROVEN not in judged(nowhere).values()
