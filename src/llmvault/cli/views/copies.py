"""Copies and what was read back, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmvault.app.copies import Verified
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json
from llmvault.copies.make import CopyResult
from llmvault.core.units import format_seconds, format_size, format_time
from llmvault.core.verdict import Check, combine
from llmvault.objectstore.costs import Estimate


def show_verified(output: Output, results: Sequence[Verified]) -> int:
    """Show what was read back and how much is covered; return the exit code."""
    verdict = combine(part.reading.verdict for one in results for part in one.read)
    output.emit_json(
        {"verdict": verdict.value, "repositories": [_verified(one) for one in results]}
    )
    rows = []
    for one in results:
        said = "; ".join(part.reason for part in one.read if part.reason)
        read = ", ".join(str(part.reading.part) for part in one.read)
        known = one.coverage
        rows.append(
            (
                one.repository,
                combine(part.reading.verdict for part in one.read),
                f"{read} of {known.parts}",
                f"{known.read} of {known.parts}",
                format_time(known.oldest) if known.oldest else "some never",
                "; ".join(filter(None, (said, *one.healed))),
            )
        )
    output.show_table(
        "Read back",
        ("repository", "verdict", "parts read now", "covered", "oldest", "remarks"),
        rows,
    )
    return verdict.exit_code


def _verified(one: Verified) -> dict[str, Any]:
    known = one.coverage
    return {
        "repository": one.repository,
        "coverage": {
            "verdict": known.verdict.value,
            "parts": known.parts,
            "read": known.read,
            "overdue": list(known.overdue),
            "oldest": format_time(known.oldest) if known.oldest else None,
            "errors": known.errors,
        },
        "read": [
            {
                "part": part.reading.part,
                "verdict": part.reading.verdict.value,
                "errors": part.reading.errors,
                "seconds": part.seconds,
                "reason": part.reason,
            }
            for part in one.read
        ],
        "stale_locks_removed": list(one.healed),
    }


def show_copies(output: Output, plans: Mapping[str, Sequence[Check]]) -> int:
    """Show the five demands of each plan; return the exit code."""
    verdict = combine(check.verdict for checks in plans.values() for check in checks)
    output.emit_json(
        {
            "verdict": verdict.value,
            "plans": [
                {
                    "plan": name,
                    "verdict": combine(check.verdict for check in checks).value,
                    "checks": [check_json(check) for check in checks],
                }
                for name, checks in plans.items()
            ],
        }
    )
    titles = {
        "copies": "3 copies",
        "media": "2 media",
        "elsewhere": "1 elsewhere",
        "immutable": "1 immutable or offline",
        "no-errors": "0 errors",
    }
    output.show_table(
        "3-2-1-1-0",
        ("plan", "demand", "verdict", "detail"),
        [
            (name, titles[check.name], check.verdict, check.detail)
            for name, checks in plans.items()
            for check in checks
        ],
    )
    return verdict.exit_code


def show_made(output: Output, results: Sequence[CopyResult]) -> int:
    """Show what was copied; return the exit code."""
    verdict = combine(result.verdict for result in results)
    output.emit_json(
        {
            "verdict": verdict.value,
            "copies": [
                {
                    "repository": one.repository,
                    "original": one.original,
                    "verdict": one.verdict.value,
                    "copied": one.copied,
                    "missing": list(one.missing),
                    "newest": one.newest or None,
                }
                for one in results
            ],
        }
    )
    output.show_table(
        "Copies",
        ("copy", "of", "verdict", "copied", "missing", "newest recovery point"),
        [
            (r.repository, r.original, r.verdict, r.copied, len(r.missing), r.newest or "none")
            for r in results
        ],
    )
    return verdict.exit_code


def estimate_json(one: Estimate) -> dict[str, Any]:
    """Return an estimate as documents spell it."""
    return {
        "repository": one.repository,
        "storage_class": one.storage_class,
        "bytes": one.bytes,
        "requests": one.requests,
        "cost": one.cost,
        "currency": one.currency,
        "wait_s": one.wait_s,
        "basis": one.basis,
    }


def show_estimates(output: Output, estimates: Sequence[Estimate]) -> None:
    """Show what reading would take from object stores."""
    if not estimates:
        output.show("Nothing would be read from an object store; no cost is estimated.")
        return
    output.show_table(
        "At most",
        ("repository", "storage class", "bytes", "requests", "cost", "wait", "prices of"),
        [
            (
                one.repository,
                one.storage_class,
                format_size(one.bytes),
                f"{one.requests:,}",
                "no prices declared" if one.cost is None else f"{one.cost:.2f} {one.currency}",
                format_seconds(one.wait_s) if one.wait_s else "none",
                one.basis or "-",
            )
            for one in estimates
        ],
    )
