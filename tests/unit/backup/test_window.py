"""How far apart the sources of a recovery point may have been captured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from llmvault.backup.run import window_checks
from llmvault.core.verdict import Verdict

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("took", "verdict"), [(0, Verdict.PROVEN), (60, Verdict.PROVEN), (61, Verdict.UNPROVEN)]
)
def test_a_window_longer_than_the_plan_allows_is_unproven(took: int, verdict: Verdict) -> None:
    (check,) = window_checks((START, START + timedelta(seconds=took)), 60)
    assert (check.name, check.verdict) == ("window", verdict)
    assert "the plan allows 1m 00s" in check.detail


def test_without_a_demand_there_is_no_check() -> None:
    assert window_checks((START, START), None) == ()
