"""The page: whole, self-contained, and telling what the statements tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from llmvault.core.verdict import Verdict
from llmvault.evidence.bundle import read_evidence, read_statements
from llmvault.evidence.charts import Sample, strip, time_chart
from llmvault.evidence.report import render
from llmvault.evidence.story import tell, verdict_of
from tests.fakes.evidence import BEGIN, END, Quarter
from tests.fakes.evidence_bundle import files_of
from tests.unit.drill.test_report import HOSTILE, Page

DAY = timedelta(days=1)


def page_of(quarter: Quarter) -> tuple[str, Page]:
    html = files_of(quarter, quarter.observed())["report.html"].decode()
    return html, Page(html)


@pytest.mark.parametrize(
    "quarter",
    [Quarter(), Quarter(plans=9, sources=1), Quarter(days=0), Quarter(plans=0)],
    ids=["three plans", "nine plans", "an empty period", "no plan"],
)
def test_the_page_is_whole_and_asks_for_nothing(quarter: Quarter) -> None:
    html, page = page_of(quarter)
    assert "script" not in page.elements
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), value
    assert "Content-Security-Policy" in html


def test_the_page_tells_what_went_wrong() -> None:
    _, page = page_of(Quarter())
    text = " ".join(page.texts)
    for told in (
        "Failed: something that was looked at does not hold.",
        "Tamper tests, repository offsite",
        "Source search-0 is unproven",
        "Digests tickets-0 failed",
        "Class standard keeps 35 dailies",
        "1 of 89 recovery points came later than promised",
        "9 of 9 sources of the policy",
    ):
        assert told in text, told


def test_an_empty_period_is_told() -> None:
    _, page = page_of(Quarter(days=0))
    text = " ".join(page.texts)
    assert "Unproven: something that should have been shown was not." in text
    assert "No drill in the period: nothing shows that it can be recovered." in text


def test_the_page_can_be_made_anew_from_the_bundle() -> None:
    quarter = Quarter(plans=1, sources=1, days=9)
    files = files_of(quarter, quarter.observed())
    again = render(read_evidence(files), read_statements(files))
    assert again.encode() == files["report.html"]


def test_hostile_names_are_harmless() -> None:
    quarter = Quarter(plans=1, sources=1, days=9)
    quarter.ledger.add(END - DAY, "strange.failed", {"id": HOSTILE, "plan": HOSTILE})
    seen = quarter.observed()
    html = files_of(quarter, replace(seen, host=HOSTILE))["report.html"].decode()
    page = Page(html)
    assert "img" not in page.elements and "script" not in page.elements
    assert "\u202e" not in html


def test_the_newest_evidence_decides() -> None:
    quarter = Quarter(trouble=False)
    statements = read_statements(files_of(quarter, quarter.observed()))
    assert verdict_of(statements) == (Verdict.PROVEN, ())
    failed = [one if one["kind"] != "coverage" else {**one, "verdict": "failed", "reason": "x"}
              for one in statements]  # fmt: skip
    assert verdict_of(failed) == (
        Verdict.FAILED,
        ("Verification coverage, sources of the policy: x",),
    )
    drills = [one for one in statements if one["kind"] != "drill"]
    assert verdict_of(drills) == (Verdict.UNPROVEN, ("no drill in the period",))
    assert verdict_of(())[0] is Verdict.UNPROVEN


def test_stale_evidence_decides_too() -> None:
    quarter = Quarter(plans=1, sources=1, days=40, trouble=False)
    statements = read_statements(files_of(quarter, quarter.observed()))
    stale = [
        {**one, "expires": "2026-08-01T00:00:00.000Z"} if one["kind"] == "tamper" else one
        for one in statements
    ]
    verdict, reasons = verdict_of(stale)
    assert verdict is Verdict.UNPROVEN
    assert all("stale since 2026-08-01" in reason for reason in reasons)


def test_worst_gaps_are_found() -> None:
    quarter = Quarter()
    files = files_of(quarter, quarter.observed())
    plans = {plan.name: plan for plan in tell(read_evidence(files), read_statements(files)).plans}
    assert plans["assistant"].rpo.worst_s == 2 * 86_400
    assert plans["search"].rpo.worst_s == 3 * 86_400  # two backups were not proven
    assert plans["search"].rto.worst_s == 1_250
    assert plans["tickets"].copies == (2, 2)


def test_charts_hold_every_sample_within_the_drawing() -> None:
    samples = [
        Sample(BEGIN + DAY * day, None if day == 3 else 60.0 * day, Verdict.PROVEN, 120.0, "x")
        for day in range(8)
    ]
    chart = time_chart(samples, BEGIN, END)
    assert chart is not None
    assert len(chart.marks) == 8
    assert all(0 <= mark.x <= 100 and 0 <= mark.y <= chart.height for mark in chart.marks)
    assert chart.missed == 5 - 1
    assert chart.unmeasured_y is not None
    assert time_chart([], BEGIN, END) is None


def test_an_objective_far_above_is_drawn_at_the_edge() -> None:
    chart = time_chart([Sample(BEGIN, 1.0, Verdict.PROVEN, 1e6, "x")], BEGIN, END)
    assert chart is not None
    assert chart.beyond


def test_strips_show_the_worst_of_each_day() -> None:
    happened = [(BEGIN, Verdict.PROVEN), (BEGIN, Verdict.FAILED), (BEGIN + DAY, Verdict.PROVEN)]
    shown = strip(happened, BEGIN, BEGIN + 3 * DAY)
    assert [cell.verdict for cell in shown.cells] == [Verdict.FAILED, Verdict.PROVEN, None]
    assert strip([], BEGIN, BEGIN + 1_000 * DAY).days == 10
