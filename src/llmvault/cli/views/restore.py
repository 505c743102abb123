"""A restore as it went."""

from __future__ import annotations

from typing import Any

from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks, show_verdict
from llmvault.core.units import format_seconds, format_size
from llmvault.restore.model import RestoreResult


def restore_json(result: RestoreResult) -> dict[str, Any]:
    """Return the document of ``restore --json``."""
    return {
        "restore": result.id,
        "recovery_point": result.recovery_point,
        "target": str(result.target),
        "verdict": result.verdict.value,
        "sources": [
            {
                "name": one.source,
                "path": str(one.path),
                "files": one.files,
                "bytes": one.bytes,
                "fetch_seconds": round(one.fetch_seconds, 3),
                "verify_seconds": round(one.verify_seconds, 3),
            }
            for one in result.fetched
        ],
        "checks": [check_json(check) for check in result.checks],
        "seconds": result.seconds,
    }


def show_restore(output: Output, result: RestoreResult) -> int:
    """Show how a restore went, and return the exit code."""
    output.emit_json(restore_json(result))
    output.show_table(
        f"Recovery point {result.recovery_point}",
        ("source", "files", "size", "time", "restored to"),
        [
            (
                one.source,
                one.files,
                format_size(one.bytes),
                format_seconds(one.fetch_seconds + one.verify_seconds),
                one.path,
            )
            for one in result.fetched
        ],
    )
    show_checks(output, result.checks)
    text = f"restore: {result.verdict}, in {format_seconds(result.seconds)}"
    show_verdict(output, result.verdict, text)
    return result.verdict.exit_code
