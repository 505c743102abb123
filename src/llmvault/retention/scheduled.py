"""Retention by the clock: what was approved is applied, what may go is asked for. Nothing else.

A run deletes nothing that people have not approved. It plans each class for itself, so that each is
approved for itself, and does not ask again while what it asked for before still fits the world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmvault.access.model import Request
from llmvault.access.run import standing
from llmvault.core.errors import RefusedError, UnprovenError
from llmvault.core.units import format_time, parse_time
from llmvault.core.verdict import Verdict, combine
from llmvault.retention.model import Approved, RetentionPlan
from llmvault.retention.plan import differences
from llmvault.retention.run import ApplyResult, RetentionPorts, apply_plan, ask_approval, make_plan
from llmvault.retention.store import STARTED

PortsOf = Callable[[Sequence[str]], RetentionPorts]


@dataclass(frozen=True, slots=True)
class ClassOutcome:
    """How a retention class stands after a run.

    Attributes:
        going: recovery points that may go and are still there.
        digest: of the plan that waits for approval; empty when none does.
        detail: in a sentence, with the next step.
    """

    name: str
    verdict: Verdict
    going: int
    digest: str
    detail: str


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """What a run did.

    Attributes:
        applied: approved plans that were applied.
        refused: digest and reason of approved plans that no longer fit the world.
    """

    applied: tuple[ApplyResult, ...]
    refused: tuple[tuple[str, str], ...]
    classes: tuple[ClassOutcome, ...]

    @property
    def verdict(self) -> Verdict:
        """Proven when nothing waits and everything approved is done."""
        done = [result.verdict for result in self.applied]
        return combine([*done, *(one.verdict for one in self.classes)])


def run_scheduled(ports_of: PortsOf, names: Sequence[str], by: str) -> ScheduledRun:
    """Apply what was approved of some classes, then plan each and ask for what may go.

    Args:
        ports_of: returns the ports of some classes.
        by: who asks; empty for nobody that the policy knows.

    Raises:
        PolicyError: when a rule matches nothing or everything.
        IntegrityError: when a plan that is kept was altered.
        UnavailableError: when a repository cannot be worked on; running again goes on.
    """
    applied, refused = [], []
    for plan in tuple(_approved(ports_of(names), names)):
        try:
            chosen = [str(kept["name"]) for kept in plan.classes()]
            applied.append(apply_plan(ports_of(chosen), plan.digest))
        except RefusedError as error:  # e.g. the world changed: a new plan is made below
            refused.append((plan.digest, error.cause))
    classes = [_outcome(ports_of([name]), name, by) for name in names]
    return ScheduledRun(tuple(applied), tuple(refused), tuple(classes))


def _approved(ports: RetentionPorts, names: Sequence[str]) -> Iterator[Approved]:
    """Yield the plans for some of the classes that are approved and not done, the oldest first."""
    waiting = sorted(_open(ports), key=lambda one: one[1].asked[-1]["at"])
    for plan, request in waiting:
        ours = {kept["name"] for kept in plan.classes()} <= set(names)
        known = ours and request.rule in ports.access.rules
        if known and not standing(ports.access, plan.digest).missing:
            yield plan


def _open(ports: RetentionPorts) -> Iterator[tuple[Approved, Request]]:
    """Yield the plans that were asked for and not applied, or whose run died."""
    for plan in ports.store.plans():
        request, run = ports.access.store.request(plan.digest), ports.store.run(plan.digest)
        if request is not None and (run is None or run.state == STARTED):
            yield plan, request


def _outcome(ports: RetentionPorts, name: str, by: str) -> ClassOutcome:
    try:
        plan = make_plan(ports)
    except UnprovenError as error:
        return ClassOutcome(name, Verdict.UNPROVEN, 0, "", f"{error.thing}: {error.cause}")
    going = len(plan.going)
    if plan.findings:
        return ClassOutcome(name, Verdict.FAILED, going, "", "; ".join(plan.findings))
    if not going:
        return ClassOutcome(name, Verdict.PROVEN, 0, "", f"class {name}: nothing goes")
    (kept,) = plan.classes
    words = f"class {name}: {going} recovery points may go"
    if kept.rules.approval not in ports.access.rules:
        detail = f'{words}, and nobody may approve it: declare "{kept.rules.approval}" in approvals'
        return ClassOutcome(name, Verdict.UNPROVEN, going, "", detail)
    digest, since = _asked(ports, plan, name, by)
    detail = f"{words} and wait for approval since {format_time(since)}: llmvault approve {digest}"
    return ClassOutcome(name, Verdict.UNPROVEN, going, digest, detail)


def _asked(ports: RetentionPorts, plan: RetentionPlan, name: str, by: str) -> tuple[str, datetime]:
    """Return what waits for approval and since when: asked for before, if it fits, or now."""
    accept_newer = {kept.rules.name: kept.rules.accept_newer for kept in plan.classes}
    for before, request in _open(ports):
        same = [kept["name"] for kept in before.classes()] == [name] and before.targets(name)
        if same and not differences(before, plan, accept_newer=accept_newer):
            return before.digest, parse_time(request.asked[0]["at"])
    request = ask_approval(ports, plan, by)
    return plan.digest, parse_time(request.asked[0]["at"])
