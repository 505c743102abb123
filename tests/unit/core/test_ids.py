"""Identifiers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from llmvault.core.ids import RandomIds

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def test_an_id_has_a_prefix_a_time_and_random_digits() -> None:
    assert re.fullmatch(r"rp-20260102T030405Z-[0-9a-f]{6}", RandomIds().new("rp", NOW))


def test_ids_sort_by_time() -> None:
    moments = [NOW + timedelta(seconds=step) for step in (0, 1, 60, 86_400, 10**9)]
    ids = [RandomIds().new("rp", moment) for moment in moments]
    assert ids == sorted(ids)


def test_another_zone_is_told_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert RandomIds().new("rp", there).startswith("rp-20260102T030405Z-")


def test_ids_and_tokens_differ() -> None:
    ids = RandomIds()
    assert len({ids.new("rp", NOW) for _ in range(50)}) == 50
    tokens = {ids.token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(re.fullmatch(r"[0-9a-f]{16}", token) for token in tokens)


def test_choices_are_in_range_and_reach_everything() -> None:
    ids = RandomIds()
    assert {ids.choose(3) for _ in range(200)} == {0, 1, 2}
    assert ids.choose(1) == 0
