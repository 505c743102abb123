"""The report of a drill: one HTML page for people and one JSON document for programs.

The page needs nothing but itself: no script, no font, no image, no request. Everything that a drill
quotes (file names above all) is untrusted: it is escaped, and what is invisible or would turn the
reading direction is shown as an escape.
"""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from llmvault.catalog.model import DrillEntry
from llmvault.core.files import write_durably
from llmvault.core.units import format_size, format_time
from llmvault.core.verdict import Verdict
from llmvault.drill import wording
from llmvault.drill.charts import Meter, meter, phase_bar
from llmvault.drill.check_words import check_words
from llmvault.drill.history import history_of
from llmvault.drill.model import DrillResult, Objective

if TYPE_CHECKING:
    from jinja2 import Environment

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT_ID = 8


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One objective as the page shows it."""

    title: str
    meaning: str
    objective: Objective
    meter: Meter


@dataclass(frozen=True, slots=True)
class _PhaseWords:
    title: str
    meaning: str


_PHASE_WORDS = {
    "fetch": _PhaseWords("Fetch", "reading everything back from the repository"),
    "verify": _PhaseWords("Verify", "checking what was restored, beyond what ran beside fetching"),
    "load": _PhaseWords("Load", "starting the engines and opening the stores"),
    "first_answer": _PhaseWords("First answer", "until the first question was answered"),
    "other": _PhaseWords("Other", "finding the recovery point, and time between the phases"),
}


def render_html(result: DrillResult, history: Sequence[DrillEntry], generated: datetime) -> str:
    """Return the page, self-contained and complete.

    Args:
        history: drills of the catalog in any order; this one and other plans' may be among them.
        generated: when the page is made.
    """
    template = page_environment("llmvault.drill").get_template("report.html.j2")
    return template.render(
        result=result,
        generated=generated,
        headline=wording.headline(result),
        decisive=wording.decisive_check(result),
        others=wording.other_shortfalls(result),
        counts=_counts(result),
        gauges=_gauges(result),
        bar=phase_bar(result.phases, result.rto.objective_s),
        groups=wording.group_checks(result.checks),
        past=history_of(result, history),
        commands=_commands(result),
    )


def report_paths(directory: Path, drill: str) -> tuple[Path, Path]:
    """Return where the page and the document of a drill are kept."""
    return directory / f"{drill}.html", directory / f"{drill}.json"


def write_report(
    directory: Path, result: DrillResult, history: Sequence[DrillEntry], generated: datetime
) -> Path:
    """Write page and document, readable by their owner only, and return the page's path.

    Raises:
        OSError: when they cannot be written.
    """
    page, document = report_paths(directory, result.id)
    result = replace(result, report=str(page))
    html = render_html(result, history, generated)
    write_durably(document, (json.dumps(result.as_json(), indent=2) + "\n").encode())
    write_durably(page, html.encode())
    return page


@cache
def page_environment(package: str) -> Environment:
    """Return what renders the pages in a package's ``templates``, in the looks of this report.

    Style, marks and filters are the same everywhere; quoted text is escaped and made visible.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("llmvault.drill")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": wording.spoken_duration,
        "size": format_size,
        "counted": wording.counted,
        "minute": _minute,
        "day": _day,
        "instant": format_time,
        "short": _short,
        "words": check_words,
        "met": wording.met_words,
        "compared": wording.share_words,
        "sentence": _sentence,
    }
    environment.globals["phase_words"] = _PHASE_WORDS
    return environment


def _finalize(value: object) -> object:
    """Make quoted text visible; markup made by the template itself stays as it is."""
    return visible(value) if type(value) is str else value


def visible(text: str) -> str:
    r"""Return text with what cannot be seen, or would reorder it, as escapes like ``\u202e``."""
    return "".join(
        ascii(char)[1:-1] if unicodedata.category(char) in _UNSEEN and char not in "\n\t" else char
        for char in text
    )


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def _short(identifier: str) -> str:
    return identifier[:_SHORT_ID]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _counts(result: DrillResult) -> dict[Verdict, int]:
    found = [check.verdict for check in result.checks]
    return {verdict: found.count(verdict) for verdict in Verdict}


def _gauges(result: DrillResult) -> tuple[_Gauge, ...]:
    time = "From the start of the restore to the first answer"
    if result.rto.measured_s is None:
        time += ", which this drill did not reach"
    loss = "No recovery point was found"
    if result.rpo.measured_s is not None:
        since = result.started - timedelta(seconds=result.rpo.measured_s)
        loss = (
            f"A loss when the drill began would have cost everything written since {_minute(since)}"
        )
    return (
        _Gauge("Recovery time (RTO)", f"{time}.", result.rto, meter(result.rto)),
        _Gauge("Possible data loss (RPO)", f"{loss}.", result.rpo, meter(result.rpo)),
    )


def _commands(result: DrillResult) -> tuple[tuple[str, str], ...]:
    """Return what a reader can do to check the report, and the command for it."""
    point, plan = shlex.quote(result.recovery_point), shlex.quote(result.plan)
    if result.point_finished is None:
        return (("Run the drill again", f"llmvault drill {plan}"),)
    commands = [
        ("See what the recovery point holds", f"llmvault recovery-points show {point}"),
        ("Run this drill again", f"llmvault drill {plan} --recovery-point {point}"),
    ]
    commands += [
        (
            f"List the files of {source.name} without llmvault (repository {source.repository})",
            f"restic ls {shlex.quote(source.snapshot[:_SHORT_ID])}",
        )
        for source in result.sources[:1]
    ]
    return tuple(commands)
