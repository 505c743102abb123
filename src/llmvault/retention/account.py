"""What a retention class can be asked: kept how long, by which law, what went, what could not."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DeletionEntry
from llmvault.core.errors import PolicyError
from llmvault.core.units import format_size, format_time, parse_time
from llmvault.retention.model import (
    NEVER,
    UNKNOWN,
    ClassPlan,
    Decision,
    copies_json,
    decision_json,
    rules_json,
    rules_words,
)
from llmvault.retention.observe import observe
from llmvault.retention.plan import plan_retention
from llmvault.retention.run import RetentionPorts

_OBSTACLES = ("hold", "last-proven", "minimum", "clock", "running")


_HIDDEN = "deleted, but its bytes stay in the storage: they are locked, or kept as old versions"
_KEPT_BY_STORAGE = {
    NEVER: "deleted, but its storage keeps old versions for ever: no lifecycle rule removes them",
    UNKNOWN: "deleted; whether its storage still keeps the bytes could not be found out",
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A recovery point that no rule keeps and that stays all the same.

    Attributes:
        until: when it may go; None while nobody can say (a hold that is not released).
    """

    repository: str
    decision: Decision
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """What a class answers."""

    made: datetime
    planned: ClassPlan
    deletions: tuple[DeletionEntry, ...]

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what could not be deleted, and until when."""
        return tuple(
            Obstacle(repository.name, decision, _until(decision))
            for repository in self.planned.repositories
            for decision in repository.decisions
            if decision.keep and all(reason.rule in _OBSTACLES for reason in decision.reasons)
        )

    def lingering(self) -> tuple[DeletionEntry, ...]:
        """Return what was deleted and whose bytes its storage still keeps, as far as is known."""
        return tuple(
            one
            for one in self.deletions
            if one.gone in (UNKNOWN, NEVER) or (one.gone and parse_time(one.gone) > self.made)
        )

    def remaining(self) -> tuple[tuple[str, str, str, str], ...]:
        """Return recovery point, repository, why and until when of what could not be deleted.

        Both what stays although no rule keeps it, and what is deleted but not gone.
        """
        staying = (
            (
                one.decision.point.id,
                one.repository,
                one.decision.why,
                format_time(one.until) if one.until else "",
            )
            for one in self.obstacles()
        )
        hidden = (
            (one.recovery_point, one.repository, _KEPT_BY_STORAGE[one.gone], "")
            if one.gone in _KEPT_BY_STORAGE
            else (one.recovery_point, one.repository, _HIDDEN, one.gone)
            for one in self.lingering()
        )
        return (*staying, *hidden)

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **rules_json(self.planned.rules),
            "made": format_time(self.made),
            "kept_how_long": rules_words(self.planned.rules),
            "repositories": [
                {
                    "name": repository.name,
                    "locks": repository.locks_basis,
                    "recovery_points": [
                        decision_json(one, repository.stays_days) for one in repository.decisions
                    ],
                    "installation_copies": copies_json(repository),
                }
                for repository in self.planned.repositories
            ],
            "deleted": [
                {
                    "recovery_point": one.recovery_point,
                    "repository": one.repository,
                    "taken": format_time(one.taken),
                    "deleted": format_time(one.deleted),
                    "why": one.why,
                    "plan": one.run,
                    "approved_by": list(one.approved_by),
                    "bytes_added": one.bytes_added,
                    "gone_not_before": one.gone or None,
                }
                for one in self.deletions
            ],
            "could_not_be_deleted": [
                {
                    "recovery_point": point,
                    "repository": repository,
                    "why": why,
                    "until": until or None,
                }
                for point, repository, why, until in self.remaining()
            ],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return one line for each recovery point that is there or was deleted."""
        blocked = {(one.repository, one.decision.point.id): one for one in self.obstacles()}
        rows: list[tuple[str, ...]] = []
        for repository in self.planned.repositories:
            for decision in (*repository.decisions, *repository.copies):
                point = decision.point
                obstacle = blocked.get((repository.name, point.id))
                state = "could not be deleted" if obstacle else "kept" if decision.keep else "to go"
                until = format_time(obstacle.until) if obstacle and obstacle.until else ""
                taken = format_time(point.time)
                here = (point.id, point.plan, repository.name, taken, state)
                rows.append((*here, decision.why, until, "", ""))
        for one in self.deletions:
            taken, deleted = format_time(one.taken), format_time(one.deleted)
            there = (one.recovery_point, one.plan, one.repository, taken, "deleted")
            rows.append((*there, one.why, one.gone, deleted, " ".join(one.approved_by)))
        return rows


COLUMNS = (
    *("recovery_point", "plan", "repository", "taken", "state"),
    *("why", "until", "deleted", "approved_by"),
)


def _until(decision: Decision) -> datetime | None:
    dates = [reason.until for reason in decision.reasons]
    known = [date for date in dates if date is not None]
    return max(known) if known and len(known) == len(dates) else None


def account_for(ports: RetentionPorts, deletions: Sequence[DeletionEntry]) -> Account:
    """Return what a class answers now. The ports are those of that class alone.

    Raises:
        VaultError: when something that decides cannot be read.
    """
    world = observe(ports.observe)
    (planned,) = plan_retention(world).classes
    return Account(world.now, planned, tuple(deletions))


def write_csv(path: Path, account: Account) -> None:
    """Write every line as CSV (RFC 4180), with a header."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    writer.writerows(account.rows())
    _write(path, stream.getvalue())


def write_html(path: Path, account: Account) -> None:
    """Write a page that needs nothing but itself."""
    rules = account.planned.rules
    freed = format_size(sum(one.bytes_added for one in account.deletions))
    head = "".join(f"<th>{html.escape(column.replace('_', ' '))}</th>" for column in COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n"
        for row in account.rows()
    )
    _write(
        path,
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Retention class {html.escape(rules.name)}</title>
<style>body{{font:15px sans-serif;margin:2em}}table{{border-collapse:collapse}}
td,th{{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top}}</style>
<h1>Retention class {html.escape(rules.name)}</h1>
<p>Kept: {html.escape(rules_words(rules))}.</p>
<p>Basis: {html.escape(rules.basis)}</p>
<p>{len(account.deletions)} deleted, which had added {freed};
{len(account.remaining())} could not be deleted, or not from the storage yet.
As of {format_time(account.made)}.</p>
<table><tr>{head}</tr>
{body}</table></html>
""",
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise PolicyError(f"file {path}", f"cannot be written: {error.strerror}") from error
