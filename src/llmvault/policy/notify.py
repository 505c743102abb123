"""What a policy says of telling people: whom, of what, how often.

The address of a chat, a mail account or a ping is a secret: whoever has it can use it. So addresses
are references, as passwords are.
"""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from llmvault.policy.fields import Duration, LocalPath, Model, Name, SecretReference
from llmvault.policy.jobs import Job

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

FINDING_KINDS = (
    *("catalog-unavailable", "journal-unwritable", "ledger-not-pinned", "lock-lapses"),
    *(
        "lock-missing",
        "lock-unknown",
        "metrics-failed",
        "not-drilled",
        "notification-failed",
        "overdue",
    ),
    *("policy-broken", "policy-edited", "rpo-missed", "rto-missed", "silent-host"),
    *("verification-behind", "verification-errors"),
)
OUTCOMES = (
    *("proven", "failed", "unproven", "wrong", "refused", "unavailable"),
    *("hung", "died", "interrupted"),
)
_ADDRESS = re.compile(r"[^\s@<>,;\x00-\x1f]+@[^\s@<>,;\x00-\x1f]+")


def event_kinds() -> tuple[str, ...]:
    """Return every kind of event: findings, and a job's kind with how a run of it ended."""
    jobs = [get_args(model.model_fields["kind"].annotation)[0] for model in _job_models()]
    return (*FINDING_KINDS, *(f"{job}-{outcome}" for job in jobs for outcome in OUTCOMES))


def _job_models() -> tuple[type[Model], ...]:
    union, *_ = get_args(Job)
    models: tuple[type[Model], ...] = get_args(union)
    return models


def _event_kind(text: str) -> str:
    known = event_kinds()
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1) or ("overdue",)
        raise ValueError(f'there is no event "{text}"; write for example {near[0]}')
    return text


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f'"{text}" is no e-mail address; write for example ops@example.org')
    return text


def _slug(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]+", text.replace("{job}", "j").replace("{host}", "h")):
        raise ValueError(
            f'"{text}" is no slug; write for example "{{host}}-{{job}}", in small letters'
        )
    return text


Address = Annotated[str, AfterValidator(_address)]
EventKind = Annotated[str, AfterValidator(_event_kind)]


class TargetBase(Model):
    """What every target has."""

    attempts: int = Field(4, ge=1, le=20, description="times that a delivery is tried, at most")
    backoff: Duration = Field(
        timedelta(seconds=1), description="before the second try; doubled for each further one"
    )
    timeout: Duration = Field(
        timedelta(seconds=60), description="a delivery is stopped after this, with all its tries"
    )

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.timeout < timedelta(seconds=1):
            raise ValueError("timeout must be at least 1s")
        return self


class ReaderBase(TargetBase):
    """What every target has that is told in words."""

    at_least: Severity = Field("warning", description="told of what is as severe as this, or more")
    repeat: Duration | None = Field(
        timedelta(days=1), description="what is still so is told again after this; null: never"
    )
    resolved: bool = Field(True, description="told once when something is over")
    settle: Duration = Field(
        timedelta(minutes=5), description="over is what is gone for so long; less is no news"
    )
    quiet: tuple[Name, ...] = Field((), description="windows in which it is left in peace")
    even_when_quiet: Severity = Field(
        "critical", description="told in those windows of what is as severe as this, or more"
    )
    digest: bool = Field(False, description="gets the digests")


class AppriseTarget(ReaderBase):
    """A chat, a push service, or anything else that the library Apprise speaks to."""

    kind: Literal["apprise"] = Field(description="a chat, a push service, …, through Apprise")
    url: SecretReference = Field(
        description="Apprise URL by reference, as https://appriseit.com lists them"
    )


class EmailTarget(ReaderBase):
    """People with mailboxes, through an SMTP server."""

    kind: Literal["email"] = Field(description="mail through an SMTP server")
    server: str = Field(min_length=1, description="name of the SMTP server")
    port: int = Field(587, ge=1, le=65_535, description="its port")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="how the connection is encrypted; certificates are verified"
    )
    user: SecretReference | None = Field(None, description="account on it, by reference")
    password: SecretReference | None = Field(None, description="its password, by reference")
    sender: Address = Field(description="address that the mail comes from")
    recipients: tuple[Address, ...] = Field(min_length=1, description="addresses that it goes to")
    digest: bool = Field(True, description="gets the digests")

    @model_validator(mode="after")
    def _log_in(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("give both user and password, or none of them")
        if self.security == "none" and self.password is not None:
            raise ValueError(
                "security: none would send the password in the clear; use starttls or tls"
            )
        return self


class PingTarget(TargetBase):
    """A dead man's switch as healthchecks.io has it: it raises the alarm when pings stay away."""

    kind: Literal["ping"] = Field(description="pings at start and end of runs, as healthchecks.io")
    url: SecretReference = Field(
        description="ping URL by reference: of one check, or up to the ping key with slug"
    )
    jobs: tuple[Name, ...] = Field((), description="jobs that it follows; all if empty")
    slug: Annotated[str, AfterValidator(_slug)] | None = Field(
        None, description="a check for each job: appended to the URL; {job}, {host} are replaced"
    )
    create: bool = Field(False, description="checks that are not there yet are created")
    start: bool = Field(True, description="told of the start, too, so that it measures the time")
    exit_status: bool = Field(
        False, description="told of the exit status instead of success or failure"
    )

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        if self.slug is None and len(self.jobs) != 1:
            raise ValueError(
                'one check is for one job: name it in jobs, or give slug: "{host}-{job}"'
            )
        return self


class FileTarget(ReaderBase):
    """A file that a log shipper reads, or a person."""

    kind: Literal["file"] = Field(description="a line of JSON in a file, for each message")
    path: LocalPath = Field(description="the file; made readable by its owner only")


Target = Annotated[
    AppriseTarget | EmailTarget | PingTarget | FileTarget, Field(discriminator="kind")
]
Reader = AppriseTarget | EmailTarget | FileTarget


class TellingPolicy(Model):
    """How severe things are."""

    severities: dict[EventKind, Severity] = Field(
        default_factory=dict,
        description="kind of event -> its severity; e.g. overdue: error, backup-proven: warning",
    )
