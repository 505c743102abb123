"""How copies of the installation, and its recovery, are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmvault.app import App
from llmvault.app.copying import copy_checks
from llmvault.app.ledger import ledger_files
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, note_unproven, show_checks, show_verdict
from llmvault.core.errors import VaultError
from llmvault.core.verdict import Verdict
from llmvault.recovery.model import PATIENCE, CopyResult, RecoveryResult


def keep_copy(vault: App, output: Output) -> None:
    """Copy the installation into its repositories; what cannot be done is only remarked upon.

    What such a repository lacks then comes with the next recovery point.
    """
    note_unproven(output, copy_checks(vault, PATIENCE))


@contextmanager
def keeping_copy(vault: App, output: Output) -> Iterator[None]:
    """Copy the installation when the context entered something into the ledger, however it ended.

    What people decide must not be lost with this machine, also where the command then refuses: that
    somebody asked for an approval, for example. A repository that cannot be reached is told.
    """
    before = _entries(vault)
    try:
        yield
    finally:
        if _entries(vault) != before:
            keep_copy(vault, output)


def _entries(vault: App) -> int:
    try:
        files = ledger_files(vault.settings)
        return files.checkpoint().head.size if files.exists() else 0
    except VaultError:
        return -1  # it is damaged: nothing is appended, and nothing copied


def copies_json(results: Sequence[CopyResult]) -> list[dict[str, Any]]:
    """Return copies as the documents spell them."""
    return [
        {
            "repository": one.repository,
            "verdict": one.verdict.value,
            "detail": one.detail,
            "entries": one.size,
        }
        for one in results
    ]


def show_copies(output: Output, results: Sequence[CopyResult]) -> None:
    """Show what each repository holds of the installation."""
    rows = [(one.repository, one.size, one.verdict, one.detail) for one in results]
    output.show_table("Copies", ("repository", "entries", "verdict", "detail"), rows)


def show_recovery(output: Output, result: RecoveryResult) -> int:
    """Show what came back; return the exit code."""
    output.emit_json(
        {
            "verdict": result.verdict.value,
            "recovered": result.put_in_place,
            "origin": result.origin,
            "entries": result.entries,
            "recovery_points": result.recovery_points,
            "drills": result.drills,
            "policies": list(result.policies),
            "checks": [check_json(check) for check in result.checks],
            "passed_over": [check_json(check) for check in result.passed_over],
        }
    )
    show_checks(output, result.checks)
    note_unproven(output, result.passed_over)
    if result.put_in_place:
        output.show(
            f"{result.entries} entries, {result.recovery_points} recovery points,"
            f" {result.drills} drills, {len(result.policies)} policy files are back",
            "next: llmvault doctor tells which secrets this machine lacks; then llmvault drill",
        )
    words = {
        Verdict.PROVEN: "Proven: the ledger is the one that was pinned.",
        Verdict.FAILED: "Refused: nothing was put in place.",
        Verdict.UNPROVEN: "Unproven: see the checks that are not proven.",
    }
    show_verdict(output, result.verdict, words[result.verdict])
    return result.verdict.exit_code
