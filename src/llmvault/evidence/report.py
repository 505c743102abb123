"""The report in a bundle: one HTML page for people, in the looks of a drill's report.

It is made from the bundle's own documents, so that anybody can make it anew from a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmvault.core.units import parse_time
from llmvault.core.verdict import Verdict
from llmvault.drill.report import page_environment
from llmvault.evidence.story import MOST_ROWS, kind_title, tell

_TEMPLATE = "evidence.html.j2"
_HEADLINES = {
    Verdict.PROVEN: "Proven: everything that was due is backed up, drilled and on record.",
    Verdict.FAILED: "Failed: something that was looked at does not hold.",
    Verdict.UNPROVEN: "Unproven: something that should have been shown was not.",
}


def render(evidence: Mapping[str, Any], statements: Sequence[Mapping[str, Any]]) -> str:
    """Return the page, self-contained and complete.

    Args:
        evidence: the document ``evidence.json``.
        statements: the predicates of all statements.
    """
    story = tell(evidence, statements)
    template = page_environment("llmvault.evidence").get_template(_TEMPLATE)
    return template.render(
        story=story,
        headline=_HEADLINES[story.verdict],
        most=MOST_ROWS,
        kind_title=kind_title,
        moment=parse_time,
    )
