"""Digests: how everything stood in a period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from llmvault.catalog.model import (
    DrillEntry,
    HostEntry,
    NewestPoint,
    RunEntry,
    drill_in_short,
    in_short,
)
from llmvault.schedule.digest import Digest, make_digest
from llmvault.schedule.digest_text import message_of_digest, page_of, text_of
from llmvault.schedule.fleet import standings
from llmvault.schedule.model import Finding

NOW = datetime(2026, 11, 26, 7, tzinfo=UTC)
BEGIN = NOW - timedelta(days=7)
DAY = timedelta(days=1)
LATE = Finding("overdue/a", "overdue", "critical", "gpu-1", "drills", "drills is late", "look")
ODD = Finding("odd", "x", "warning", "gpu-1", "x", "<script>alert(1)</script>\u202e", "")


def host(name: str, seen: datetime, *findings: Finding) -> HostEntry:
    values = tuple({key: getattr(one, key) for key in Finding.__slots__} for one in findings)
    promise = {"rpo_s": 86_400, "rto_s": 900, "sources": 1, "declared": "2026-01-01T00:00:00Z"}
    jobs = {
        "backups": {"kind": "backup", "owner": name, "next": "2026-11-27T01:00:00Z"},
        "drills": {"kind": "drill", "owner": name, "next": None},
        "copies": {"kind": "copies", "owner": "*abc", "next": None},
    }
    return HostEntry(name, seen, BEGIN, 60.0, "1", "d", {"nightly": promise}, jobs, values)


def run(name: str, job: str, days: float, outcome: str) -> RunEntry:
    at = BEGIN + timedelta(days=days)
    return RunEntry(f"{name}{job}{days}", job, "backup", name, name, at, at, at, 1, outcome, 0, "")


def digest(*runs: RunEntry, drills: tuple[DrillEntry, ...] = ()) -> Digest:
    hosts = (host("gpu-1", NOW, LATE, ODD), host("gpu-2", NOW - timedelta(hours=9)))
    points = [NewestPoint("gpu-1", "nightly", "proven", NOW - timedelta(hours=6))]
    stand = standings(map(in_short, hosts), points, map(drill_in_short, drills), NOW)
    return make_digest("gpu-1", NOW, (BEGIN, NOW), stand, hosts, runs)


def test_runs_are_counted_and_laid_out_by_day() -> None:
    made = digest(
        run("gpu-1", "backups", 0.1, "proven"),
        run("gpu-1", "backups", 0.2, "hung"),
        run("gpu-1", "backups", 3.5, "unavailable"),
        run("gpu-1", "backups", 6.9, "proven"),
        run("gpu-1", "backups", 6.95, "interrupted"),
        run("gpu-2", "removed", 1, "proven"),
    )
    lines = {(one.host, one.job): one for one in made.jobs}
    backups = lines["gpu-1", "backups"]
    assert backups.counts == {"proven": 2, "failed": 1, "unproven": 1}
    assert backups.steps == ("failed", "", "", "unproven", "", "", "proven")
    assert backups.last == "interrupted"
    assert ("*", "copies") in lines
    assert lines["gpu-2", "removed"].counts["proven"] == 1
    assert [one.job for one in made.overdue] == ["drills"]
    assert [one.host for one in made.overdue] == ["gpu-1"]


def test_promises_are_measured() -> None:
    drill = DrillEntry("d", "nightly", "rp", NOW, "proven", 900, 1800.0, 1, 1, {}, "r", "gpu-1")
    made = digest(drills=(drill,))
    first, second = made.plans
    assert (first.rpo.met, first.rpo.measured, first.rpo.objective) == (True, 25, 100)
    assert (first.rto.met, first.rto.measured, first.rto.objective) == (False, 100, 50)
    assert (second.rpo.met, second.rpo.measured) == (None, 0)
    assert [one.host for one in made.silent] == ["gpu-2"]
    assert made.headline == "1 of 2 plans proven, 1 job overdue, 2 findings"
    assert [one.severity for one in made.findings] == ["critical", "warning"]


def test_a_long_period_has_as_many_steps_as_fit() -> None:
    long = make_digest("gpu-1", NOW, (NOW - 365 * DAY, NOW), (), (host("gpu-1", NOW),), ())
    assert {len(one.steps) for one in long.jobs} == {31}


class _Page(HTMLParser):
    """Collects what a page would load or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        given = dict(attrs)
        wanted = given.get("src") or (given.get("href") if given.get("href") != "data:," else None)
        if tag in ("script", "img", "iframe", "style") or wanted:
            self.loads.append(f"{tag} {wanted}")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_and_quotes_nothing_raw() -> None:
    made = digest(run("gpu-1", "backups", 0.1, "proven"))
    page = _Page()
    page.feed(page_of(made))
    assert page.loads == []
    assert "<script>alert(1)</script>\\u202e" in page.text
    assert "drills is late" in page.text
    assert "silent since" in page.text


def test_the_text_says_the_same() -> None:
    made = digest(run("gpu-1", "backups", 0.1, "proven"))
    text = text_of(made)
    for words in ("drills is late", "next: look", "gpu-2 is silent", "1 proven", "OVERDUE"):
        assert words in text
    assert "\u202e" not in text
    message = message_of_digest(made)
    assert message.severity == "critical"
    assert message.html is not None
    nothing = make_digest("gpu-1", NOW, (BEGIN, NOW), (), (), ())
    assert "none" in text_of(nothing)
    assert page_of(nothing)
    assert message_of_digest(nothing).severity == "info"
