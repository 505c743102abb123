"""The page and the document of a drill."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.catalog.model import DrillEntry
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.model import DrillResult, Objective, Phases
from llmvault.drill.report import render_html, visible, write_report
from tests.fakes import drills

VOID = {"meta", "link", "br"}
HOSTILE = (
    "<script>alert(1)</script>\"'&<img src=http://evil.example/x onerror=x>\u202egpj.exe\x1b[31m"
)
HARMLESS = Check("digests", "models", Verdict.FAILED, "harmless")
RESULTS = {"proven": drills.proven(), "failed": drills.failed(), "unproven": drills.unproven()}


class Page(HTMLParser):
    """A page as a browser sees it: text in order, elements, attributes; unbalanced tags raise."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def count(self, name: str, value: str) -> int:
        """Return how many elements have this attribute."""
        return self.attributes.count((name, value))


def render(result: DrillResult, history: Sequence[DrillEntry] = ()) -> Page:
    return Page(render_html(result, history, drills.GENERATED))


def test_a_proven_drill_says_so_in_its_first_sentence() -> None:
    page = render(drills.proven())
    sentence = (
        "Proven: the deployment of plan assistant was restored and answered in 41.2 s; "
        "the objective is 15 min."
    )
    assert sentence in page.text
    assert page.text.index(sentence) < page.text.index("Recovery time (RTO)")
    assert "4.6 % of the objective: 14 min 19 s to spare." in page.text
    assert "9 checks proven, 0 failed, 0 could not be made." in page.text


def test_a_failed_drill_says_what_failed_first_and_what_was_seen() -> None:
    page = render(drills.failed())
    assert (
        "Failed: restored files are not byte for byte what was backed up (source models)."
        in page.text
    )
    assert "SHA-256 is 9f2c41d07a5e…" in page.text
    assert "1 other check failed and 1 check could not be made." in page.text
    assert "1.38 times the objective: 5 min 40 s too long." in page.text
    assert "missed" in page.text


def test_an_unproven_drill_says_what_could_not_be_checked_and_why() -> None:
    page = render(drills.unproven())
    assert "Unproven: start of the inference engine could not be checked" in page.text
    assert "xllamacpp is not installed; install llmvault[llamacpp]" in page.text
    assert "not measured" in page.text
    assert "No inference engine answered in this drill." in page.text
    assert page.text.count("not reached") == 2


@pytest.mark.parametrize("verdict", RESULTS)
def test_every_fact_is_on_the_page(verdict: str) -> None:
    result = RESULTS[verdict]
    page = render(result, drills.past(3))
    facts = [result.id, result.recovery_point, result.policy_digest, result.host]
    facts += [fact for source in result.sources for fact in (source.name, source.snapshot[:8])]
    facts += [fact for engine in result.engines.values() for fact in (engine.version, engine.dtype)]
    facts += [fact for check in result.checks for fact in (check.name, check.detail)]
    assert [fact for fact in facts if fact not in page.text] == []


def test_checks_come_worst_first_with_their_source_and_with_words_for_people() -> None:
    page = render(drills.failed())
    start = page.text.index("What was checked")
    whole, models, documents, configs = (
        page.text.index(heading, start)
        for heading in (
            "The deployment as a whole",
            "Source models",
            "Source documents",
            "Source configs",
        )
    )
    assert whole < models < documents < configs
    assert models < page.text.index("Every file is byte for byte", models) < documents
    unproven = page.text.index("the engine was not started")
    assert documents < unproven < page.text.index("1 collection with 512 records")


@pytest.mark.parametrize("verdict", RESULTS)
@pytest.mark.parametrize("count", [0, 1, 50])
def test_the_page_needs_nothing_but_itself(verdict: str, count: int) -> None:
    html = render_html(RESULTS[verdict], drills.past(count), drills.GENERATED)
    page = Page(html)
    for name, value in page.attributes:
        if name in {"href", "src", "srcset", "data", "action", "poster", "xlink:href"}:
            assert value.startswith("#") or value == "data:,", (name, value)
        assert not name.startswith("on")
    assert not {"script", "iframe", "img", "object", "embed", "base", "form"} & {*page.elements}
    assert not re.search(r"url\(|@import|https?:", html)
    policy = next(value for name, value in page.attributes if value.startswith("default-src"))
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize("verdict", RESULTS)
def test_the_page_never_claims_compliance(verdict: str) -> None:
    html = render_html(RESULTS[verdict], drills.past(50), drills.GENERATED)
    assert "complian" not in html.lower()


def hostile(result: DrillResult, text: str) -> DrillResult:
    check = replace(result.checks[0], name=text, source=text, detail=text)
    source = replace(result.sources[0], name=text, kind=text, repository=text, snapshot=text)
    engine = replace(drills.ENGINES["chat"], engine=text, version=text, device=text, dtype=text)
    return replace(
        result,
        plan=text,
        host=text,
        recovery_point=text,
        policy_digest=text,
        checks=(check, *result.checks[1:]),
        sources=(source, *result.sources[1:]),
        engines={text: engine, "embedder": engine},
        versions={text: text, "restic": text, "python": text},
    )


def shape(page: Page) -> tuple[Counter[str], Counter[str]]:
    return Counter(page.elements), Counter(name for name, _ in page.attributes)


@pytest.mark.parametrize("verdict", RESULTS)
def test_hostile_text_is_shown_and_never_becomes_markup(verdict: str) -> None:
    plain = hostile(RESULTS[verdict], "harmless")
    page = render(hostile(plain, HOSTILE))
    assert shape(page) == shape(render(plain))
    assert visible(HOSTILE) in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text


@given(st.text(st.characters(codec=None), min_size=1))
def test_no_text_changes_the_page_or_is_lost(text: str) -> None:
    check = replace(HARMLESS, detail=f"[{text}]")
    page = render(replace(drills.failed(), checks=(check,)))
    expected = " ".join(visible(f"[{text}]").split())
    assert page.text.count(expected) == 2
    assert shape(page) == shape(render(replace(drills.failed(), checks=(HARMLESS,))))


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    check = Check("tree", "models", Verdict.FAILED, "b\udcff.bin: is not in the manifest")
    page = write_report(tmp_path, replace(drills.failed(), checks=(check,)), (), drills.GENERATED)
    assert r"b\udcff.bin: is not in the manifest" in page.read_text()
    document = json.loads(page.with_suffix(".json").read_text())
    assert document["checks"][0]["detail"] == check.detail


def test_page_and_document_are_kept_side_by_side_for_their_owner_only(tmp_path: Path) -> None:
    result = drills.proven()
    page = write_report(tmp_path / "reports", result, drills.past(2), drills.GENERATED)
    document = page.with_suffix(".json")
    assert page.name == f"{result.id}.html"
    assert sorted(page.parent.iterdir()) == sorted([page, document])
    assert {stat.S_IMODE(path.stat().st_mode) for path in (page, document)} == {0o600}
    assert json.loads(document.read_text()) == replace(result, report=str(page)).as_json()


def test_a_drill_that_found_nothing_still_makes_a_whole_page() -> None:
    reason = Check("drill", "", Verdict.UNPROVEN, "the repository cannot be opened: wrong password")
    nothing = replace(
        drills.unproven(),
        recovery_point="",
        point_finished=None,
        checks=(reason,),
        phases=Phases(),
        rpo=Objective(86_400.0, None),
        sources=(),
        versions={},
    )
    page = render(nothing)
    assert "wrong password" in page.text
    assert "No phase was measured" in page.text
    assert "No recovery point was found." in page.text
    assert "Nothing was restored." in page.text
    assert "none found" in page.text
    assert "recovery-points show" not in page.text


def test_without_any_check_nothing_is_claimed() -> None:
    page = render(replace(drills.unproven(), checks=()))
    assert "Unproven: nothing was established about plan assistant." in page.text
    assert "Nothing was checked." in page.text


@pytest.mark.parametrize(("count", "told"), [(0, "first drill"), (1, "all 2"), (49, "all 50")])
def test_the_chart_marks_every_drill(count: int, told: str) -> None:
    page = render(drills.proven(), drills.past(count))
    assert page.count("width", "1") == count + 1
    assert told in page.text
    assert page.count("class", "ring") == 1


def test_drills_beyond_the_newest_fifty_are_counted() -> None:
    page = render(drills.proven(), drills.past(60))
    assert "the last 50 drills; 11 older ones not shown" in page.text


def test_drills_without_measurement_are_shown_as_such() -> None:
    page = render(drills.unproven())
    assert "unproven: not measured (this drill)" in page.text
    assert "no time" in page.text


def test_an_objective_far_away_is_told_and_not_drawn_to_scale() -> None:
    page = render(replace(drills.proven(), rto=Objective(41_200.0, 41.2)))
    assert "would lie 1,000 times as far to the right" in page.text
    assert "beyond the scale: drawn at the upper edge" in page.text
    assert "0.1 % of the objective" in page.text


def test_an_objective_that_was_missed_is_a_line_in_the_bar() -> None:
    page = render(drills.failed())
    assert "with the objective as a dashed line" in page.text
    assert "Objective 15 min" in page.text


def test_commands_quote_what_a_shell_would_interpret() -> None:
    page = render(replace(drills.proven(), plan="a; rm -rf ~"))
    assert "llmvault drill 'a; rm -rf ~' --recovery-point" in page.text


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_2_demands(scheme: str) -> None:
    blocks = render_html(drills.proven(), (), drills.GENERATED).split(":root {")[1:3]
    block = blocks[scheme == "dark"].split("}")[0]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    text = [(ink, ground) for ink in ("ink", "soft") for ground in ("paper", "panel")]
    for verdict in ("proven", "failed", "unproven"):
        text += [(verdict, "paper"), (verdict, "panel"), ("ink", f"{verdict}-tint")]
        text += [("soft", f"{verdict}-tint")]
    phases = ("fetch", "verify", "load", "first_answer", "other")
    text += [("on-phase", phase) for phase in phases]
    low = {pair for pair in text if contrast(*(colour[name] for name in pair)) < 4.5}
    low |= {(p, "paper") for p in phases if contrast(colour[p], colour["paper"]) < 3}
    assert low == set()
