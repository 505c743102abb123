"""What a drill restores, and what its measurements mean."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.verdict import Check, Verdict
from llmvault.drill.model import Objective
from llmvault.drill.plan import (
    age_seconds,
    broken_sources,
    point_check,
    rpo_check,
    rto_check,
    space_check,
    stored_sources,
)
from tests.fakes.manifests import STARTED, manifest, source_record

counts = st.integers(0, 1 << 50)


@given(counts, counts, st.floats(1, 3))
def test_space_is_proven_only_when_it_is_enough(needed: int, free: int, factor: float) -> None:
    check = space_check(needed, free, factor)
    enough = free >= int(needed * factor)
    assert check.verdict is (Verdict.PROVEN if enough else Verdict.UNPROVEN)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (None, Verdict.UNPROVEN),
        (899.0, Verdict.PROVEN),
        (900.0, Verdict.PROVEN),
        (901.0, Verdict.FAILED),
    ],
)
def test_objectives(measured: float | None, verdict: Verdict) -> None:
    for check in (rto_check(Objective(900.0, measured)), rpo_check(Objective(900.0, measured))):
        assert check.verdict is verdict
        assert "15m 00s" in check.detail


def test_the_age_of_the_newest_point_is_never_negative() -> None:
    assert age_seconds(None, STARTED) is None
    assert age_seconds(STARTED, STARTED + timedelta(hours=1)) == 3600
    assert age_seconds(STARTED, STARTED - timedelta(seconds=1)) == 0
    assert age_seconds(STARTED, STARTED - timedelta(hours=1)) is None, "no age from the future"


def test_a_point_keeps_its_verdict_and_its_reasons() -> None:
    assert point_check(manifest(source_record("models"))).verdict is Verdict.PROVEN
    unproven = manifest(
        source_record("models", verdict=Verdict.UNPROVEN, reason="2 not read"),
        source_record("configs"),
        checks=(Check("complete", "", Verdict.UNPROVEN, "only some sources"),),
        verdict=Verdict.UNPROVEN,
    )
    check = point_check(unproven)
    assert check.verdict is Verdict.UNPROVEN
    assert check.detail.endswith("models: 2 not read; only some sources")


def test_only_failures_of_a_source_break_it() -> None:
    checks = [
        Check("digests", "models", Verdict.PROVEN, ""),
        Check("tree", "models", Verdict.FAILED, "first"),
        Check("structure", "models", Verdict.FAILED, "second"),
        Check("structure", "configs", Verdict.UNPROVEN, "unknown"),
        Check("recovery-point", "", Verdict.FAILED, "of the whole"),
    ]
    assert broken_sources(checks) == {"models": "first"}


def test_sources_without_a_snapshot_are_told() -> None:
    point = manifest(
        source_record("models"),
        source_record("configs", snapshots={"elsewhere": "s"}, reason="it was offline"),
        source_record("database", snapshots={}, reason="it was down"),
    )
    stored, missing = stored_sources(point, ["primary"])
    assert stored == ("models",)
    assert [(c.source, c.verdict, c.detail) for c in missing] == [
        ("configs", Verdict.UNPROVEN, "it was not stored: it was offline"),
        ("database", Verdict.UNPROVEN, "it was not stored: it was down"),
    ]
