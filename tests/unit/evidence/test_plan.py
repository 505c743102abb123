"""What is stated of what was observed, and found about controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from llmvault.core.verdict import Verdict
from llmvault.evidence.findings import findings
from llmvault.evidence.frameworks import framework
from llmvault.evidence.kinds import BY_NAME
from llmvault.evidence.model import Finding, Period, Statement
from llmvault.evidence.observed import Observed
from llmvault.evidence.plan import plan_statements
from tests.fakes.evidence import END, Quarter

DORA = framework("dora")


def quarter(days: int = 9) -> Quarter:
    return Quarter(plans=2, sources=2, days=days, trouble=False)


def of_kind(seen: Observed, kind: str) -> list[Statement]:
    return [one for one in plan_statements(seen) if one.kind == kind]


def found_in(seen: Observed) -> dict[str, Finding]:
    plans = [plan.name for plan in seen.policy.plans]
    return {one.control.id: one for one in findings([DORA], plan_statements(seen), plans, END)}


def test_a_good_quarter_is_proven_all_over() -> None:
    seen = quarter(30).observed()
    stated = plan_statements(seen)
    assert {one.verdict for one in stated} == {Verdict.PROVEN}
    assert {one.kind for one in stated} == {
        *("backup", "drill", "retention", "tamper", "hold", "activity"),
        *("policy", "ledger", "coverage"),
    }
    found = found_in(seen)
    assert found["12(1)"].satisfied
    assert found["12(3)"].satisfied
    assert not found["12(2)"].satisfied  # it wants erasures replayed too, and none were
    assert found["12(2)"].reasons == ("no evidence of erasures replayed at restores in the period",)


def test_every_run_names_its_entries() -> None:
    seen = quarter().observed()
    for one in plan_statements(seen):
        kinds = {seen.ledger.entries[index].kind.partition(".")[0] for index in one.entries}
        expected = set(BY_NAME[one.kind].nouns) or {"index"}
        assert kinds <= expected, one


def without_entries(seen: Observed, kind: str) -> Observed:
    """Return what was observed without the ledger's entries of a kind."""
    entries = tuple(entry for entry in seen.ledger.entries if entry.kind != kind)
    return replace(seen, ledger=replace(seen.ledger, entries=entries))


def test_a_run_without_an_end_in_the_ledger_is_unproven() -> None:
    for stated in (
        of_kind(without_entries(quarter().observed(), "backup.finished"), "backup"),
        of_kind(without_entries(quarter().observed(), "drill.finished"), "drill"),
        of_kind(without_entries(quarter().observed(), "tamper.tested"), "tamper"),
        of_kind(without_entries(quarter().observed(), "retention.applied"), "retention"),
    ):
        assert stated
        assert {one.verdict for one in stated} == {Verdict.UNPROVEN}
        assert all("ledger" in one.reason for one in stated)


def test_a_run_that_the_ledger_does_not_know_is_unproven() -> None:
    seen = quarter().observed()
    bare = replace(seen, ledger=replace(seen.ledger, entries=()))
    stated = of_kind(bare, "backup")
    assert len(stated) == len(seen.points)
    assert {one.verdict for one in stated} == {Verdict.UNPROVEN}


def test_a_run_that_only_the_ledger_knows_is_stated_with_the_gap() -> None:
    stated = of_kind(replace(quarter().observed(), points=(), drills=()), "drill")
    assert {one.verdict for one in stated} == {Verdict.PROVEN}
    assert {one.gaps for one in stated} == {("the catalog does not list it",)}


def test_catalog_and_ledger_that_contradict_each_other_fail() -> None:
    seen = quarter().observed()
    said = replace(seen.points[0], verdict="failed")
    stated = of_kind(replace(seen, points=(said, *seen.points[1:])), "backup")
    (bad,) = [one for one in stated if one.verdict is Verdict.FAILED]
    assert bad.reason == "the ledger says proven, the catalog failed"


def test_a_drill_without_its_report_is_unproven() -> None:
    stated = of_kind(replace(quarter().observed(), reports={}), "drill")
    assert {one.verdict for one in stated} == {Verdict.UNPROVEN}
    assert {one.gaps for one in stated} == {("its report is missing",)}


def test_reasons_name_sources_and_checks_and_quote_nothing() -> None:
    seen = Quarter(plans=3, sources=2, days=90).observed()
    bad = [one for one in plan_statements(seen) if one.verdict is not Verdict.PROVEN]
    assert {one.reason for one in bad if one.kind == "backup"} == {"source search-0 is unproven"}
    assert {one.reason for one in bad if one.kind == "drill"} == {"digests tickets-0 failed"}


def test_deletions_carry_the_reason_they_were_announced_with() -> None:
    stated = of_kind(quarter().observed(), "retention")
    gone = [one for statement in stated for one in statement.facts["removed"]]
    assert gone
    assert all("class standard keeps 35 dailies" in one["why"] for one in gone)


def test_what_was_announced_and_not_done_was_not_deleted() -> None:
    seen = without_entries(quarter().observed(), "retention.applied")
    assert all(one.facts["removed"] == [] for one in of_kind(seen, "retention"))


@pytest.mark.parametrize(
    ("kind", "facts", "verdict"),
    [
        ("strange.ended", {"verdict": "proven"}, Verdict.PROVEN),
        ("strange.ended", {"verdict": "failed"}, Verdict.FAILED),
        ("strange.ended", {"verdict": "marvellous"}, Verdict.UNPROVEN),
        ("strange.failed", {}, Verdict.FAILED),
        ("strange.started", {}, Verdict.UNPROVEN),
        ("strange.changed", {"left": {"lock": "the server would not"}}, Verdict.FAILED),
        ("strange.changed", {"left": {}}, Verdict.PROVEN),
        ("verification.finished", {"verdict": "unproven"}, Verdict.UNPROVEN),
        ("key.rotated", {"key": "k1"}, Verdict.PROVEN),
    ],
)
def test_entries_of_any_kind_become_statements(
    kind: str, facts: Mapping[str, Any], verdict: Verdict
) -> None:
    made = quarter()
    made.ledger.add(END - timedelta(hours=1), kind, facts)
    noun = kind.partition(".")[0]
    expected = "activity" if noun == "strange" else noun
    stated = [
        one for one in of_kind(made.observed(), expected)
        if expected != "activity" or "strange" in one.run
    ]  # fmt: skip
    assert [one.verdict for one in stated] == [verdict]


def test_stale_evidence_satisfies_nothing() -> None:
    made = quarter()
    seen = made.observed()
    fresh = found_in(seen)
    assert fresh["12(3)"].satisfied
    plans = [plan.name for plan in seen.policy.plans]
    late = {
        one.control.id: one
        for one in findings([DORA], plan_statements(seen), plans, END + timedelta(days=93))
    }
    assert not late["12(3)"].satisfied
    assert all("is stale since" in reason for reason in late["12(3)"].reasons)


def test_the_policy_says_when_evidence_goes_stale() -> None:
    seen = quarter().observed()
    strict = replace(seen, policy=replace(seen.policy, valid_for={"drill": 3_600.0}))
    assert not found_in(strict)["12(3)"].satisfied


def test_a_plan_without_a_drill_is_named() -> None:
    seen = quarter().observed()
    drills = tuple(one for one in seen.drills if one.plan != "search")
    entries = tuple(
        entry for entry in seen.ledger.entries
        if not (entry.kind.startswith("drill") and entry.facts["plan"] == "search")
    )  # fmt: skip
    less = replace(seen, drills=drills, ledger=replace(seen.ledger, entries=entries))
    assert found_in(less)["12(3)"].reasons == (
        "plan search has no evidence of recovery drills in the period",
    )
    (coverage,) = of_kind(less, "coverage")
    assert coverage.verdict is Verdict.UNPROVEN
    assert coverage.reason == "2 of 4 sources are not proven"


def test_a_source_in_no_plan_is_not_covered() -> None:
    seen = quarter().observed()
    more = replace(seen.policy, sources={**seen.policy.sources, "orphan": "configs"})
    (coverage,) = of_kind(replace(seen, policy=more), "coverage")
    (row,) = [one for one in coverage.facts["sources"] if one["source"] == "orphan"]
    assert (row["verdict"], row["reasons"]) == ("unproven", ["no plan has it"])


def test_an_empty_period_satisfies_nothing_but_what_the_policy_says() -> None:
    seen = quarter().observed(Period(END + timedelta(days=1), END + timedelta(days=2)))
    stated = plan_statements(seen)
    assert {one.kind: one.verdict for one in stated} == {
        "policy": Verdict.PROVEN,
        "ledger": Verdict.UNPROVEN,
        "coverage": Verdict.UNPROVEN,
    }
    assert not any(one.satisfied for one in found_in(seen).values())
