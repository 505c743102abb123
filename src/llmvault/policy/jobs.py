"""What a policy says of the work that is done by the clock, and of the windows it is done in.

A kind of job is a class on :class:`JobBase` with its settings and the command line of llmvault that
does it, named in :data:`Job`. That is all it takes: the scheduler knows no kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from llmvault.core.units import format_time
from llmvault.policy.cron import parse_cron
from llmvault.policy.fields import Duration, LocalPath, Model, Name

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _cron(text: str) -> str:
    parse_cron(text)
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (OSError, ValueError) as error:
        raise ValueError(f'there is no time zone "{text}"; write for example UTC') from error
    return text


def _minute(text: str) -> str:
    hour, _, minute = text.partition(":")
    if not (len(text) == 5 and hour.isdigit() and minute.isdigit()):
        raise ValueError(f'"{text}" is no time of day; write for example "22:00"')
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f'"{text}" is no time of day; it goes from 00:00 to 23:59')
    return text


CronText = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_zone)]
TimeOfDay = Annotated[str, AfterValidator(_minute)]


class Window(Model):
    """A time of day on some days of the week; it may go past midnight."""

    start: TimeOfDay = Field(description='first minute, e.g. "22:00"')
    end: TimeOfDay = Field(description='first minute after it, e.g. "06:00"')
    days: tuple[Weekday, ...] = Field((), description="days on which it begins; all if empty")
    timezone: TimeZone = Field("UTC", description="whose clock it goes by")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a job may look at to choose the arguments of a run.

    Attributes:
        plans: of the policy, in order.
        drilled: plan -> when it was last drilled, whatever came out.
        scheduled: the time that the run is for.
        state: this installation's state directory.
    """

    plans: tuple[str, ...]
    drilled: Mapping[str, datetime]
    scheduled: datetime
    state: Path = field(default=Path())


class JobBase(Model):
    """What every job has."""

    at: CronText | None = Field(None, description="cron expression; or give every")
    every: Duration | None = Field(None, description="interval of at least 1s; or give at")
    timezone: TimeZone = Field("UTC", description="whose clock at goes by")
    jitter: Duration = Field(
        timedelta(), description="start up to this much later, the same each time on one host"
    )
    grace: Duration = Field(timedelta(hours=2), description="overdue when not done this long after")
    limit: Duration = Field(timedelta(hours=12), description="stopped when it takes longer")
    retries: int = Field(3, ge=0, le=20, description="times it is tried again when unavailable")
    backoff: Duration = Field(
        timedelta(minutes=5), description="before the first retry; doubled for each further one"
    )
    hosts: Literal["each", "one"] = Field(
        "each", description="each host does it, or one of those that share repositories and catalog"
    )
    only_in: tuple[Name, ...] = Field((), description="windows in one of which it must start")
    never_in: tuple[Name, ...] = Field((), description="windows in none of which it may start")

    @model_validator(mode="after")
    def _one_cadence(self) -> Self:
        if (self.at is None) == (self.every is None):
            raise ValueError("give either at (a cron expression) or every (an interval)")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("every must be at least 1s")
        return self

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run, without ``llmvault`` itself; pure."""
        raise NotImplementedError


class BackupJob(JobBase):
    """Takes recovery points."""

    kind: Literal["backup"] = Field(description="take recovery points")
    plans: tuple[Name, ...] = Field((), description="plans; all if empty")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("backup", *self.plans)


class DrillJob(JobBase):
    """Drills one plan each time, the one that was drilled the longest ago."""

    kind: Literal["drill"] = Field(description="prove that a recovery point works")
    plans: tuple[Name, ...] = Field((), description="plans that take turns; all if empty")
    recovery_point: Literal["latest", "random"] = Field(
        "latest", description="which recovery point is drilled"
    )
    host: Name = Field("local", description="scratch host")
    each_source_within: Duration | None = Field(
        None, description="a source that was not drilled for longer is a finding"
    )

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        plan = next_to_drill(self.plans or facts.plans, facts.drilled)
        return ("drill", plan, "--recovery-point", self.recovery_point, "--host", self.host)


def next_to_drill(plans: tuple[str, ...], drilled: Mapping[str, datetime]) -> str:
    """Return the plan that was drilled the longest ago, one that never was first."""
    waiting = [plan for plan in plans if plan not in drilled]
    return waiting[0] if waiting else min(plans, key=lambda plan: drilled[plan])


class RepositoryJob(JobBase):
    """Does something to repositories; one host is enough."""

    hosts: Literal["each", "one"] = Field(
        "one", description="each host does it, or one of those that share repositories and catalog"
    )
    repositories: tuple[Name, ...] = Field((), description="repositories; all it fits if empty")


class CopiesJob(RepositoryJob):
    """Fills copies."""

    kind: Literal["copies"] = Field(description="fill repositories that are copies of others")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("copies", "make", *self.repositories)


class VerificationJob(RepositoryJob):
    """Reads the part of each repository back that waited longest, and all that is overdue."""

    kind: Literal["verification"] = Field(description="read packs back, a part at a time")
    parts: int = Field(1, ge=1, le=256, description="parts of each repository that a run reads")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("verify", *self.repositories, "--parts", str(self.parts))


class LocksJob(RepositoryJob):
    """Extends the locks that would lapse too soon."""

    kind: Literal["locks"] = Field(description="extend locks before they lapse")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("lock", "extend", *self.repositories)


class TamperJob(RepositoryJob):
    """Attacks the locks with the credential that makes backups."""

    kind: Literal["tamper"] = Field(description="try to destroy backups; want to be refused")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("tamper", *self.repositories)


class EvidenceJob(JobBase):
    """Makes a signed bundle for auditors."""

    kind: Literal["evidence"] = Field(description="make a signed evidence bundle")
    period: Duration = Field(timedelta(days=92), description="what it covers, up to its time")
    frameworks: tuple[Name, ...] = Field((), description="soc2, dora, …; all if empty")
    directory: LocalPath | None = Field(
        None, description="where bundles are put; evidence in the state directory if not given"
    )

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        begin, end = facts.scheduled - self.period, facts.scheduled
        name = f"evidence-{end:%Y%m%dT%H%M%SZ}.zip"
        output = (self.directory or facts.state / "evidence") / name
        period = ("--from", format_time(begin), "--to", format_time(end))
        chosen = (word for one in self.frameworks for word in ("--framework", one))
        return ("evidence", "export", "--output", str(output), *period, *chosen)


class RetentionJob(JobBase):
    """Asks for what may go to be approved, and deletes what was approved; nothing else."""

    kind: Literal["retention"] = Field(description="plan what goes; delete what was approved")
    hosts: Literal["each", "one"] = Field(
        "one", description="each host does it, or one of those that share repositories and catalog"
    )
    classes: tuple[Name, ...] = Field((), description="retention classes; all if empty")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("retention", "run", *(word for one in self.classes for word in ("--class", one)))


class DigestJob(JobBase):
    """Sends people a digest of a period."""

    kind: Literal["digest"] = Field(description="send a digest to the targets that get digests")
    hosts: Literal["each", "one"] = Field(
        "one", description="each host does it, or one of those that share repositories and catalog"
    )
    period: Duration = Field(timedelta(days=7), description="what it covers, up to its time")
    targets: tuple[Name, ...] = Field((), description="targets; all with digest: true if empty")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        begin, end = format_time(facts.scheduled - self.period), format_time(facts.scheduled)
        chosen = (word for one in self.targets for word in ("--target", one))
        return ("notify", "digest", "--send", "--from", begin, "--to", end, *chosen)


class LedgerVerifyJob(JobBase):
    """Hashes the ledger anew and compares it with what witnesses keep."""

    kind: Literal["ledger_verify"] = Field(description="verify the ledger against its witnesses")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("ledger", "verify")


class LedgerPinJob(JobBase):
    """Hands the newest checkpoint of the ledger to the witnesses."""

    kind: Literal["ledger_pin"] = Field(description="hand the ledger's checkpoint to witnesses")

    def arguments(self, facts: Facts) -> tuple[str, ...]:
        """Return the command line of a run."""
        return ("ledger", "checkpoint")


Job = Annotated[
    BackupJob
    | DrillJob
    | CopiesJob
    | VerificationJob
    | LocksJob
    | TamperJob
    | EvidenceJob
    | RetentionJob
    | DigestJob
    | LedgerVerifyJob
    | LedgerPinJob,
    Field(discriminator="kind"),
]
