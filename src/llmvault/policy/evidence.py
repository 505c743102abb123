"""What a policy says about evidence."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmvault.policy.fields import Duration, Model

AgeingKind = Literal["backup", "drill", "retention", "tamper", "verification"]


class Evidence(Model):
    """When evidence goes stale."""

    valid_for: dict[AgeingKind, Duration] = Field(
        default_factory=dict,
        description="kind of evidence -> how long it holds; by default a backup its plan's rpo, "
        "a drill 92d, a retention run 35d, a tamper test and a verification 31d",
    )
