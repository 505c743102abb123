"""Checks and verdicts, as every view shows them."""

from __future__ import annotations

from collections.abc import Sequence

from llmvault.cli.output import CELL_STYLES, Output, printable
from llmvault.core.verdict import Check, Verdict


def check_json(check: Check) -> dict[str, str]:
    """Return a check as the documents of all commands spell it."""
    return {
        "name": check.name,
        "source": check.source,
        "verdict": check.verdict.value,
        "detail": check.detail,
    }


def show_checks(output: Output, checks: Sequence[Check]) -> None:
    """Show checks as a table, in their order."""
    if not checks:
        output.show("Nothing was checked.")
        return
    output.show_table(
        "Checks",
        ("source", "check", "verdict", "detail"),
        [(check.source or "(all)", check.name, check.verdict, check.detail) for check in checks],
    )


def show_verdict(output: Output, verdict: Verdict, text: str) -> None:
    """Show a sentence in the colour of its verdict."""
    if output.json:
        return
    from rich.text import Text

    output.show(Text(printable(text), style=CELL_STYLES[verdict]))


def note_unproven(output: Output, checks: Sequence[Check]) -> None:
    """Tell, beside a command's result, what is not proven; it changes no verdict."""
    for check in checks:
        if check.verdict is not Verdict.PROVEN:
            output.note(printable(f"{check.name} {check.source}: {check.detail}"))
