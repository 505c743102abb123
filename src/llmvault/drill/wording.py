"""What a drill established in plain words: the same sentences on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from llmvault.core.verdict import Check, Verdict, combine
from llmvault.drill.check_words import check_words
from llmvault.drill.model import DrillResult, Objective

_WORST_FIRST = (Verdict.FAILED, Verdict.UNPROVEN, Verdict.PROVEN)


@dataclass(frozen=True, slots=True)
class CheckGroup:
    """The checks of one source, worst first; of the drill as a whole when the source is empty."""

    source: str
    verdict: Verdict
    checks: tuple[Check, ...]


def group_checks(checks: Sequence[Check]) -> tuple[CheckGroup, ...]:
    """Return the checks by source: sources with the worst verdict first, then by name."""
    by_source = sorted(checks, key=_source)
    groups = [_group(source, tuple(found)) for source, found in groupby(by_source, key=_source)]
    return tuple(sorted(groups, key=lambda group: _WORST_FIRST.index(group.verdict)))


def _source(check: Check) -> str:
    return check.source


def _group(source: str, checks: tuple[Check, ...]) -> CheckGroup:
    ordered = sorted(checks, key=lambda check: _WORST_FIRST.index(check.verdict))
    return CheckGroup(source, combine(check.verdict for check in checks), tuple(ordered))


def decisive_check(result: DrillResult) -> Check | None:
    """Return the first check that failed, or that could not be made; None for a proven drill."""
    if result.verdict is Verdict.PROVEN:
        return None
    return next((check for check in result.checks if check.verdict is result.verdict), None)


def headline(result: DrillResult) -> str:
    """Return the verdict in one sentence."""
    told = _success if result.verdict is Verdict.PROVEN else _shortfall
    return f"{result.verdict.value.capitalize()}: {told(result)}."


def _success(result: DrillResult) -> str:
    answered = result.phases.first_answer is not None
    text = f"the deployment of plan {result.plan} was restored and "
    text += "answered" if answered else "verified"
    if result.rto.measured_s is not None:
        text += f" in {spoken_duration(result.rto.measured_s)}"
    text += f"; the objective is {spoken_duration(result.rto.objective_s)}"
    if result.rpo.met is False:
        text += ", but the newest recovery point was older than its own objective allows"
    return text


def _shortfall(result: DrillResult) -> str:
    check = decisive_check(result)
    if check is None:
        return _missed(result) or f"nothing was established about plan {result.plan}"
    words = check_words(check.name)
    where = f" (source {check.source})" if check.source else ""
    if check.verdict is Verdict.FAILED:
        return words.failure + where
    return f"{words.title} could not be checked{where}"


def _missed(result: DrillResult) -> str:
    if result.rto.met is False:
        return f"recovery took {_against(result.rto)}"
    if result.rpo.met is False:
        return f"the newest recovery point was older than promised, {_against(result.rpo)}"
    return ""


def _against(objective: Objective) -> str:
    measured = spoken_duration(objective.measured_s or 0.0)
    return f"{measured}; the objective is {spoken_duration(objective.objective_s)}"


def other_shortfalls(result: DrillResult) -> str:
    """Return how many checks are not proven besides the decisive one; empty if none."""
    decisive = decisive_check(result)
    rest = [check.verdict for check in result.checks]
    if decisive is not None:
        rest.remove(decisive.verdict)
    failed, unproven = rest.count(Verdict.FAILED), rest.count(Verdict.UNPROVEN)
    parts = []
    if failed:
        parts.append(f"{counted(failed, 'other check')} failed")
    if unproven:
        noun = "check" if failed or result.verdict is Verdict.FAILED else "other check"
        parts.append(f"{counted(unproven, noun)} could not be made")
    return f"{' and '.join(parts)}." if parts else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, e.g. ``1 check`` or ``12,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def met_words(objective: Objective) -> str:
    """Return ``met``, ``missed`` or ``not measured``."""
    return {True: "met", False: "missed", None: "not measured"}[objective.met]


def share_words(objective: Objective) -> str:
    """Return how a measurement compares with its objective; empty when nothing was measured."""
    if objective.measured_s is None or objective.objective_s <= 0:
        return ""
    difference = spoken_duration(abs(objective.objective_s - objective.measured_s))
    if not objective.met:
        times = objective.measured_s / objective.objective_s
        return f"{times:.3g} times the objective: {difference} too long"
    percent = 100 * objective.measured_s / objective.objective_s
    share = f"{percent:.2g} %" if percent >= 0.1 else "under 0.1 %"
    return f"{share} of the objective: {difference} to spare"


_UNITS = (("day", "h", 24, 3_600), ("h", "min", 60, 60), ("min", "s", 60, 1))


def spoken_duration(seconds: float) -> str:
    """Return seconds for readers who are no technicians: ``41.2 s``, ``15 min``, ``3 h 7 min``."""
    if seconds < 0:
        return f"minus {spoken_duration(-seconds)}"
    if 0 < seconds < 0.01:
        return "under 0.01 s"
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds:.2g} s"
    unit, lesser, ratio, size = _UNITS[0 if seconds >= 172_800 else 1 if seconds >= 3_599.5 else 2]
    whole, rest = divmod(round(seconds / size), ratio)
    plural = "s" if unit == "day" and whole > 1 else ""
    return f"{whole} {unit}{plural} {rest} {lesser}" if rest else f"{whole} {unit}{plural}"
