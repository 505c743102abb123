"""What the statements say about the demands of frameworks. Pure.

A demand is ``satisfied`` when every kind of evidence that answers it is there, newest proven and
not stale; otherwise ``not-satisfied``, with every reason. That is what the evidence says, and no
word on whether anybody complies with anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.kinds import BY_NAME
from llmvault.evidence.model import Control, Finding, Framework, Statement

_PER_PLAN = ("backup", "drill")


def newest_by_thing(statements: Sequence[Statement]) -> dict[tuple[str, str], Statement]:
    """Return the newest statement of each kind about each thing."""
    newest: dict[tuple[str, str], Statement] = {}
    for one in sorted(statements, key=lambda one: one.collected):
        newest[one.kind, one.about] = one
    return newest


def findings(
    frameworks: Sequence[Framework],
    statements: Sequence[Statement],
    plans: Sequence[str],
    at: datetime,
) -> tuple[Finding, ...]:
    """Return what is found about every control.

    Args:
        plans: backup plans of the policy; each must have its own backups and drills.
        at: the moment for which staleness is judged.
    """
    newest = newest_by_thing(statements)
    answers = {kind for one in frameworks for control in one.controls for kind in control.answers}
    judged = {kind: _judge(kind, newest, plans, at) for kind in answers}
    return tuple(
        _finding(control, judged) for framework in frameworks for control in framework.controls
    )


_Judged = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


def _finding(control: Control, judged: Mapping[str, _Judged]) -> Finding:
    reasons = tuple(reason for kind in control.answers for reason in judged[kind][0])
    rests_on = tuple(run for kind in control.answers for run in judged[kind][1])
    return Finding(control, not reasons, reasons, rests_on)


def _judge(
    kind: str, newest: Mapping[tuple[str, str], Statement], plans: Sequence[str], at: datetime
) -> _Judged:
    """Return why a kind of evidence does not hold, and the runs that were looked at."""
    found = [one for (of_kind, _), one in newest.items() if of_kind == kind]
    title = BY_NAME[kind].title.lower() if kind in BY_NAME else kind.replace("-", " ")
    reasons = [reason for one in found for reason in _shortfalls(one, at)]
    if not found:
        reasons.append(f"no evidence of {title} in the period")
    elif kind in _PER_PLAN:
        about = {one.about for one in found}
        reasons.extend(
            f"plan {plan} has no evidence of {title} in the period"
            for plan in plans
            if f"plan {plan}" not in about
        )
    return tuple(reasons), tuple((one.kind, one.run) for one in found)


def _shortfalls(statement: Statement, at: datetime) -> Iterator[str]:
    thing = f"{statement.kind} of {statement.about}"
    if statement.verdict is not Verdict.PROVEN:
        yield f"the newest {thing} is {statement.verdict}: {statement.reason}"
    if statement.expires is not None and statement.expires < at:
        yield f"the newest {thing} is stale since {format_time(statement.expires)}"
