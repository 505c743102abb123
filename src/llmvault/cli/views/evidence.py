"""Bundles as they were made, and as they verify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks, show_verdict
from llmvault.core.units import format_size, format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.run import Exported
from llmvault.evidence.verify import Verified

_VERDICTS = [verdict.value for verdict in Verdict]
_MOST_REASONS = 8


def show_exported(output: Output, made: Exported, key: Path) -> int:
    """Show what a bundle holds, its verdict and how to verify it; return the exit code."""
    output.emit_json(made.as_json() | {"public_key": str(key)})
    output.show_table(
        "Statements",
        ("kind", *_VERDICTS),
        [(kind, *(counts[one] for one in _VERDICTS)) for kind, counts in made.counts.items()],
    )
    output.show_table(
        "Controls",
        ("framework", "satisfied", "not satisfied"),
        [(name, yes, no) for name, (yes, no) in made.findings.items()],
    )
    begin, end = format_time(made.period.begin), format_time(made.period.end)
    show_verdict(
        output, made.verdict, f"{made.verdict.value.capitalize()}: evidence of {begin} to {end}."
    )
    output.show(*(f"  {reason}" for reason in made.reasons[:_MOST_REASONS]))
    if len(made.reasons) > _MOST_REASONS:
        output.show(f"  and {len(made.reasons) - _MOST_REASONS} more, in the bundle")
    output.show(
        f"bundle: {made.path} ({format_size(made.size)}, SHA-256 {made.sha256})",
        f"verify: llmvault evidence verify {made.path} --key {key}",
    )
    return made.verdict.exit_code


def show_verified(output: Output, found: Verified) -> int:
    """Show what holds of a bundle, and what it says; return the exit code."""
    counts = _counts(found.statements)
    output.emit_json(
        {
            "verdict": found.verdict.value,
            "checks": [check_json(check) for check in found.checks],
            "period": found.evidence.get("period"),
            "key": found.evidence.get("key"),
            "statements": counts,
        }
    )
    show_checks(output, found.checks)
    output.show_table(
        "What its statements say",
        ("kind", *_VERDICTS),
        [(kind, *(told[one] for one in _VERDICTS)) for kind, told in counts.items()],
    )
    bad = [check for check in found.checks if check.verdict is found.verdict]
    text = {
        Verdict.PROVEN: "every bit of the bundle is as the key's owner signed it.",
        Verdict.FAILED: "the bundle is not what the key's owner signed; believe nothing in it.",
        Verdict.UNPROVEN: "; ".join(check.detail for check in bad),
    }[found.verdict]
    show_verdict(output, found.verdict, f"{found.verdict.value.capitalize()}: {text}")
    return found.verdict.exit_code


def _counts(statements: tuple[Mapping[str, Any], ...]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for one in statements:
        told = counts.setdefault(one["kind"], dict.fromkeys(_VERDICTS, 0))
        told[one["verdict"]] += 1
    return counts
