"""A drill as it went."""

from __future__ import annotations

from llmvault.cli.output import Output
from llmvault.cli.views.checks import show_checks, show_verdict
from llmvault.drill.charts import PhaseBar, Segment, phase_bar
from llmvault.drill.model import DrillResult, Objective
from llmvault.drill.wording import (
    decisive_check,
    group_checks,
    headline,
    met_words,
    other_shortfalls,
    share_words,
    spoken_duration,
)

_BAR_CHARACTERS = 40


def show_drill(output: Output, result: DrillResult) -> int:
    """Show what a drill established, verdict and report last, and return the exit code."""
    output.emit_json(result.as_json())
    if not output.json:
        _show(output, result)
    return result.verdict.exit_code


def _show(output: Output, result: DrillResult) -> None:
    groups = group_checks(result.checks)
    show_checks(output, [check for group in groups for check in group.checks])
    block = "#" if output.console.options.ascii_only else "█"
    bar = phase_bar(result.phases, result.rto.objective_s)
    output.show("", *_phase_lines(bar, block), "")
    output.show(_objective_line("RTO", result.rto), _objective_line("RPO", result.rpo))
    show_verdict(output, result.verdict, f"{headline(result)} {other_shortfalls(result)}".rstrip())
    decisive = decisive_check(result)
    if decisive is not None:
        output.show(decisive.detail)
    output.show(f"drill: {result.id}", f"report: {result.report}")


def _phase_lines(bar: PhaseBar, block: str) -> list[str]:
    lines = [_phase_line(segment, block) for segment in bar.segments]
    total = spoken_duration(bar.total) if bar.total else "not measured"
    return [*lines, _columns("together", total, "")]


def _phase_line(segment: Segment, block: str) -> str:
    name = segment.name.replace("_", " ")
    if segment.seconds is None:
        return _columns(name, "not reached", "")
    begin, end = (
        round(percent * _BAR_CHARACTERS / 100) for percent in (segment.x, segment.x + segment.width)
    )
    drawn = " " * min(begin, _BAR_CHARACTERS - 1) + block * max(1, end - begin)
    return _columns(name, spoken_duration(segment.seconds), drawn)


def _columns(name: str, time: str, bar: str) -> str:
    return f"{name:<14}{time:>14}  {bar}".rstrip()


def _objective_line(name: str, objective: Objective) -> str:
    promised = f"objective {spoken_duration(objective.objective_s)}"
    if objective.measured_s is None:
        return f"{name} {met_words(objective)}, {promised}"
    compared = f" ({share_words(objective)})" if share_words(objective) else ""
    measured = spoken_duration(objective.measured_s)
    return f"{name} {measured}, {promised}: {met_words(objective)}{compared}"
