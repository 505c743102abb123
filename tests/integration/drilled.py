"""What a drill established, as tests ask for it."""

from __future__ import annotations

from llmvault.core.verdict import Verdict
from llmvault.drill.model import DrillResult


def bad(result: DrillResult) -> dict[tuple[str, str], tuple[Verdict, str]]:
    """Return (name, source) -> (verdict, detail) of the checks that are not proven."""
    return {
        (check.name, check.source): (check.verdict, check.detail)
        for check in result.checks
        if check.verdict is not Verdict.PROVEN
    }


def verdict_of(result: DrillResult, name: str) -> tuple[Verdict, str]:
    (found,) = [(c.verdict, c.detail) for c in result.checks if c.name == name]
    return found
