"""What a policy says of how long recovery points are kept, one item per retention class."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator
from pydantic.json_schema import WithJsonSchema

from llmvault.core.spans import Span, parse_span
from llmvault.policy.fields import Duration, Model, Name


def _span(value: object) -> object:
    return parse_span(value) if isinstance(value, str) else value


def _tags(value: str) -> str:
    tags = [tag.strip() for tag in value.split(",")]
    if not all(tags):
        raise ValueError("holds an empty tag; write for example release or release,audited")
    return ",".join(tags)


SpanField = Annotated[
    Span,
    BeforeValidator(_span),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*(\d+\s*(y|mo|w|d|h)\s*)+$",
            "examples": ["7y", "6mo", "4w", "10d", "36h"],
        }
    ),
]
Count = Annotated[int, Field(ge=1)] | Literal["unlimited"]
TagList = Annotated[str, AfterValidator(_tags)]


class Keep(Model):
    """Which recovery points stay: those that at least one of these rules keeps.

    The rules mean what restic's ``forget --keep-…`` means; days and weeks are those of UTC.
    """

    last: Count | None = Field(None, description="the newest so many; unlimited keeps all")
    hourly: Count | None = Field(None, description="one for each of the newest so many hours")
    daily: Count | None = Field(None, description="one for each of the newest so many days")
    weekly: Count | None = Field(None, description="one for each of the newest so many ISO weeks")
    monthly: Count | None = Field(None, description="one for each of the newest so many months")
    yearly: Count | None = Field(None, description="one for each of the newest so many years")
    within: SpanField | None = Field(None, description="all, this long before the newest one")
    within_hourly: SpanField | None = Field(None, description="one an hour, this long")
    within_daily: SpanField | None = Field(None, description="one a day, this long")
    within_weekly: SpanField | None = Field(None, description="one a week, this long")
    within_monthly: SpanField | None = Field(None, description="one a month, this long")
    within_yearly: SpanField | None = Field(None, description="one a year, this long")
    tags: tuple[TagList, ...] = Field(
        (), description="those with one of these restic tags; a,b asks for both"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Keep:
        if all(getattr(self, field) in (None, ()) for field in type(self).model_fields):
            raise ValueError("has no rule; to keep everything for ever, write last: unlimited")
        return self


class RetentionClass(Model):
    """How long the recovery points in the repositories of a class are kept, and why."""

    basis: Annotated[str, Field(min_length=1)] = Field(
        description="the law or policy that demands it, in words"
    )
    keep: Keep = Field(description="which recovery points stay")
    minimum: int = Field(
        2, ge=1, description="sound recovery points that stay of each plan, whatever the rules say"
    )
    approval: Name = Field("retention", description="who must approve, of the section approvals")
    accept_newer: bool = Field(
        False, description="go on with an approved plan when newer recovery points came meanwhile"
    )
    installation_copies: Keep = Field(
        Keep(last=5, weekly=4, monthly=3),
        description="which whole copies of the installation stay, of each installation; the one"
        " with the most of its ledger always does",
    )
    locked_for: Duration | None = Field(
        None,
        description="nobody can destroy a recovery point so long after it was taken; told where the"
        " locks in its storage end sooner",
    )
    wait_for_lock: Duration = Field(
        timedelta(minutes=2), description="wait so long for others who work on the repository"
    )
