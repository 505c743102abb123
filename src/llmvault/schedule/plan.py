"""Which jobs a policy asks for, and which run is due. Pure: same arguments, same answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from llmvault.core.canonical import digest
from llmvault.policy import jobs as declared
from llmvault.policy.cron import parse_cron
from llmvault.policy.model import Policy
from llmvault.schedule.model import AGAIN, FLEET, Due, Job, Outcome, Run, Seen, Window
from llmvault.schedule.times import count_between, latest, may_start

# A run that claims to have begun later than this from now was made while the clock was wrong.
CLOCK_AHEAD = timedelta(hours=2)
_TRIES_AFTER_DEATH = 3
_LONGEST_BACKOFF = timedelta(hours=6)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def jobs_of(policy: Policy, host: str) -> tuple[Job, ...]:
    """Return the jobs of a host: those under ``jobs``, and a backup for each plan's schedule."""
    windows = {name: window_of(window) for name, window in policy.windows.items()}
    found = dict(_plain(policy))
    found |= policy.jobs
    owners = {"each": host, "one": group_of(policy, host)}
    return tuple(
        _job(name, config, windows, owners[config.hosts]) for name, config in found.items()
    )


def group_of(policy: Policy, host: str) -> str:
    """Return the owner of what one host does for all whose policies name the same repositories.

    A directory as repository is another one on each host, so such a host is a group of its own.
    """
    repositories = policy.repositories.values()
    alone = [host] if any(one.local_path is not None for one in repositories) else []
    urls = sorted(one.url for one in repositories)
    return FLEET + digest([alone, urls])[:12]


def _plain(policy: Policy) -> Iterable[tuple[str, declared.Job]]:
    for name, plan in policy.plans.items():
        if plan.schedule is not None:
            job = declared.BackupJob(kind="backup", at=plan.schedule, plans=(name,))
            yield f"backup-{name}", job


def _job(name: str, config: declared.Job, windows: dict[str, Window], owner: str) -> Job:
    return Job(
        name=name,
        kind=config.kind,
        owner=owner,
        cron=parse_cron(config.at) if config.at else None,
        every=config.every,
        zone=ZoneInfo(config.timezone),
        jitter=config.jitter,
        grace=config.grace,
        limit=config.limit,
        retries=config.retries,
        backoff=config.backoff,
        only_in=tuple(windows[one] for one in config.only_in),
        never_in=tuple(windows[one] for one in config.never_in),
        config=config,
    )


def window_of(window: declared.Window) -> Window:
    """Return a window of the policy."""
    days = window.days or _DAYS
    return Window(
        _minutes(window.start),
        _minutes(window.end),
        frozenset(_DAYS.index(day) for day in days),
        ZoneInfo(window.timezone),
    )


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def newest_run(seen: Seen, now: datetime) -> Run | None:
    """Return the last run, those of a clock that was ahead left out."""
    trusted = [run for run in seen.runs if run.started <= now + CLOCK_AHEAD]
    return max(trusted, key=lambda run: run.scheduled, default=None)


def due(job: Job, seen: Seen, now: datetime) -> Due | None:
    """Return the run that is to start now, if any.

    Of several times that were missed the newest is run, once. A run that died or was interrupted is
    run again, one that found something unavailable after its back-off; a newer time comes first.
    """
    last = newest_run(seen, now)
    if (last is not None and last.outcome is Outcome.RUNNING) or not may_start(job, now):
        return None
    base = last.scheduled if last else min(seen.declared, now)
    newest = latest(job, now)
    if newest is not None and newest > base:
        return Due(newest, 1, count_between(job, base, newest))
    if last is not None and _to_repeat(job, last, now):
        return Due(last.scheduled, last.attempt + 1, last.missed)
    return None


def _to_repeat(job: Job, last: Run, now: datetime) -> bool:
    if last.outcome in AGAIN or not is_repeated(job, last):
        return is_repeated(job, last)
    return now >= (last.finished or last.started) + backoff(job, last.attempt)


def is_repeated(job: Job, ended: Run) -> bool:
    """Whether a run that ended so is run again, now or after its back-off."""
    if ended.outcome in AGAIN:
        return ended.attempt < _TRIES_AFTER_DEATH
    return ended.outcome is Outcome.UNAVAILABLE and ended.attempt <= job.retries


def backoff(job: Job, attempt: int) -> timedelta:
    """Return how long to wait after an attempt that found something unavailable."""
    return min(job.backoff * (1 << (attempt - 1)), max(job.backoff, _LONGEST_BACKOFF))
