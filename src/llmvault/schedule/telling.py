"""What a target is told, and when: its book says what it was told already. Pure.

A thing is told when it is new or has become worse, again while it lasts (after a declared time),
and once when it is over. Something that comes and goes is one thing until it stays away for a
while. What could not be judged is not over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llmvault.policy.notify import SEVERITIES, Reader, Severity
from llmvault.schedule.model import Finding, Job, Outcome, Run

_RANK: Mapping[str, int] = {name: rank for rank, name in enumerate(SEVERITIES)}
_BLIND = "catalog-unavailable"  # while that is so, most other things cannot be judged
_EVENTS_KEPT = 50
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_TOLD_BY_FINDINGS = frozenset(
    {
        *(Outcome.FAILED, Outcome.UNPROVEN, Outcome.WRONG, Outcome.REFUSED),
        *(Outcome.UNAVAILABLE, Outcome.HUNG, Outcome.DIED, Outcome.RUNNING),
    }
)


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a target knows to be wrong.

    Attributes:
        finding: as it was told last.
        first, last: when it was told.
        gone: since when it is no longer so.
    """

    finding: Finding
    first: datetime
    last: datetime
    gone: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """A target that takes nothing.

    Attributes:
        since: when that began.
        again: when it is tried next.
        times: how many deliveries failed one after the other.
    """

    since: datetime
    again: datetime
    times: int
    cause: str


@dataclass(frozen=True, slots=True)
class Book:
    """What one target was told.

    Attributes:
        told: by key of the finding.
        events: runs that it has still to hear of, the oldest first.
    """

    told: Mapping[str, Told] = field(default_factory=dict)
    events: tuple[Finding, ...] = ()
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a target wants; see ``policy.notify.ReaderBase``.

    Attributes:
        quiet: whether it is to be left in peace now.
    """

    at_least: Severity
    repeat: timedelta | None
    resolved: bool
    settle: timedelta
    even_when_quiet: Severity
    quiet: bool = False

    def wants(self, finding: Finding) -> bool:
        """Whether it is severe enough to be told at all."""
        return _RANK[finding.severity] >= _RANK[self.at_least]

    def hears(self, finding: Finding) -> bool:
        """Whether it may be told now."""
        return not self.quiet or _RANK[finding.severity] >= _RANK[self.even_when_quiet]


@dataclass(frozen=True, slots=True)
class Letter:
    """What a target is to be told now.

    Attributes:
        new: what it does not know, or not as so severe.
        still: what is still so.
        over: what is no longer so.
        events: runs.
    """

    new: tuple[Finding, ...] = ()
    still: tuple[Finding, ...] = ()
    over: tuple[Told, ...] = ()
    events: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.still or self.over or self.events)

    @property
    def severity(self) -> str:
        """The worst that it tells of; ``resolved`` when it only tells what is over."""
        told = (*self.new, *self.still, *self.events)
        return max((one.severity for one in told), key=lambda one: _RANK[one], default="resolved")


def rules_of(target: Reader, *, quiet: bool) -> Rules:
    """Return what a target of the policy wants."""
    return Rules(
        at_least=target.at_least,
        repeat=target.repeat,
        resolved=target.resolved,
        settle=target.settle,
        even_when_quiet=target.even_when_quiet,
        quiet=quiet,
    )


def weighed(findings: Iterable[Finding], severities: Mapping[str, Severity]) -> tuple[Finding, ...]:
    """Return findings as severe as the policy says; what it does not know is a warning."""

    def severity(one: Finding) -> str:
        own = one.severity if one.severity in _RANK else "warning"
        return severities.get(one.kind, own)

    return tuple(replace(one, severity=severity(one)) for one in findings)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the most severe first, then by kind and key."""
    return tuple(sorted(findings, key=lambda one: (-_RANK.get(one.severity, 1), one.kind, one.key)))


def spoken_for(findings: Iterable[Finding], host: str, *, for_all: bool) -> tuple[Finding, ...]:
    """Return what a host tells: what is about itself, and what is about all if it speaks for all.

    Hosts that share a catalog find the same things; one of them is enough to tell.
    """
    return tuple(one for one in findings if for_all or one.host == host)


def event_of(job: Job, run: Run) -> Finding | None:
    """Return that a run ended, where no finding tells of it."""
    if run.outcome in _TOLD_BY_FINDINGS:
        return None
    lines = run.detail.strip().splitlines()
    detail = f": {lines[-1]}" if lines else ""
    return Finding(
        f"{run.id}/{run.attempt}", f"{job.kind}-{run.outcome.value}", "info", run.host, job.name,
        f"{job.kind} job {job.name} ended {run.outcome.value}{detail}", "",
    )  # fmt: skip


def with_event(book: Book, event: Finding, rules: Rules) -> Book:
    """Return the book with a run that is still to be told, if the target wants to hear of it."""
    if not rules.wants(event):
        return book
    return replace(book, events=(*book.events, event)[-_EVENTS_KEPT:])


def observed(
    book: Book, findings: Sequence[Finding], rules: Rules, now: datetime, *, host: str | None = None
) -> Book:
    """Return the book after a look: what is gone, what is back, what need not be remembered.

    Args:
        findings: everything that is wrong now, weighed.
        host: given when this host speaks for itself only; what others have to tell is forgotten.
    """
    there = {one.key: one for one in findings}
    blind = any(one.kind == _BLIND for one in findings)
    kept: dict[str, Told] = {}
    for key, told in book.told.items():
        finding = there.get(key)
        if finding is not None and rules.wants(finding):
            kept[key] = replace(told, gone=None)
        elif finding is None and (host is None or told.finding.host == host):
            judged = not blind or told.finding.kind == _BLIND
            gone = told.gone or (now if judged else None)
            if rules.resolved or gone is None or not _past(gone, rules.settle, now):
                kept[key] = replace(told, gone=gone)
    return replace(book, told=kept)


def letter_of(book: Book, findings: Sequence[Finding], rules: Rules, now: datetime) -> Letter:
    """Return what is to be told now; the book must have seen the findings."""
    new, still = [], []
    for finding in findings:
        told = book.told.get(finding.key)
        if not (rules.wants(finding) and rules.hears(finding)):
            continue
        if told is None or _RANK[finding.severity] > _RANK[told.finding.severity]:
            new.append(finding)
        elif rules.repeat is not None and _past(told.last, rules.repeat, now):
            still.append(finding)
    over = [
        told
        for told in book.told.values()
        if told.gone is not None
        and _past(told.gone, rules.settle, now)
        and rules.hears(told.finding)
    ]
    events = [event for event in book.events if rules.hears(event)]
    return Letter(tuple(new), tuple(still), tuple(over), tuple(events))


def may_try(book: Book, now: datetime) -> bool:
    """Whether a target that took nothing is to be tried again; a clock that was set waits not."""
    trouble = book.trouble
    return trouble is None or now >= trouble.again or trouble.again - now > _LONGEST_WAIT


def delivered(book: Book, letter: Letter, now: datetime) -> Book:
    """Return the book after a letter was taken."""
    told = dict(book.told)
    for one in letter.over:
        told.pop(one.finding.key, None)
    for finding in (*letter.new, *letter.still):
        before = told.get(finding.key)
        told[finding.key] = Told(finding, before.first if before else now, now)
    events = tuple(event for event in book.events if event not in letter.events)
    return Book(told, events, None)


def failed(book: Book, cause: str, now: datetime) -> Book:
    """Return the book after a letter was not taken: it is tried again after growing waits."""
    before = book.trouble
    times = before.times + 1 if before else 1
    wait = min(_FIRST_WAIT * (1 << min(times - 1, 10)), _LONGEST_WAIT)
    since = before.since if before else now
    return replace(book, trouble=Trouble(since, now + wait, times, cause))


def at_once(book: Book) -> Book:
    """Return the book of a target that is to be tried without waiting; it may be mended."""
    if book.trouble is None:
        return book
    return replace(book, trouble=replace(book.trouble, again=book.trouble.since))


def trouble_finding(host: str, target: str, trouble: Trouble) -> Finding:
    """Return that a target cannot be told anything."""
    return Finding(
        f"notification-failed/{host}/{target}", "notification-failed", "error", host, target,
        f"{target} cannot be told anything since {trouble.since:%Y-%m-%d %H:%M} UTC: "
        f"{trouble.cause}",
        f"llmvault notify test {target}",
    )  # fmt: skip


def _past(since: datetime, span: timedelta, now: datetime) -> bool:
    """Whether a time has passed; a moment in the future is of a clock that was wrong."""
    return abs(now - since) >= span
