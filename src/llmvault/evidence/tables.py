"""CSV tables of the evidence, for spreadsheets. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def tables(
    statements: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]
) -> dict[str, bytes]:
    """Return file name -> CSV (RFC 4180, UTF-8).

    Args:
        statements: predicates, in order.
        findings: as ``evidence.json`` lists them.
    """
    return {
        "csv/statements.csv": _csv(
            ("kind", "run", "about", "verdict", "reason", "collected", "expires", "gaps"),
            (
                (
                    *(one[key] for key in ("kind", "run", "about", "verdict", "reason")),
                    *(one[key] for key in ("collected", "expires")),
                    "; ".join(one["gaps"]),
                )
                for one in statements
            ),
        ),
        "csv/recovery-points.csv": _of_kind(
            statements, "backup",
            ("plan", "started", "finished", "copies", "files", "bytes", "rpo_objective_s"),
        ),
        "csv/drills.csv": _of_kind(
            statements, "drill",
            (
                "plan", "recovery_point", "started", "rto_objective_s", "rto_measured_s",
                "rpo_objective_s", "rpo_measured_s",
            ),
        ),
        "csv/deletions.csv": _csv(
            ("recovery_point", "repository", "when", "why", "gone_not_before"),
            (
                tuple(
                    gone[key]
                    for key in ("recovery_point", "repository", "when", "why", "gone_not_before")
                )
                for one in statements
                for gone in one["facts"].get("removed", ())
            ),
        ),
        "csv/controls.csv": _csv(
            ("framework", "control", "demand", "state", "reasons", "source"),
            (
                (
                    one["framework"], one["control"], one["demand"], one["state"],
                    "; ".join(one["reasons"]), one["source"],
                )
                for one in findings
            ),
        ),
    }  # fmt: skip


def _of_kind(statements: Sequence[Mapping[str, Any]], kind: str, facts: Sequence[str]) -> bytes:
    rows = (
        (one["run"], one["verdict"], *(one["facts"].get(key) for key in facts))
        for one in statements
        if one["kind"] == kind
    )
    return _csv(("id", "verdict", *facts), rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8")


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
