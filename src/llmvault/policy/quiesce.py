"""What a policy says of writers that are held still while sources are captured."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from llmvault.policy.fields import Duration, Model


class Quiesce(Model):
    """Two commands: one that holds writers still, one that sets them free again."""

    name: str = Field(min_length=1, description="what is held still, for messages")
    freeze: tuple[str, ...] = Field(
        min_length=1, description="program and arguments; no shell, and no secret in it"
    )
    thaw: tuple[str, ...] = Field(
        min_length=1,
        description="undoes freeze; also run when freeze failed or nothing was frozen",
    )
    freeze_timeout: Duration = Field(
        timedelta(seconds=30), description="a freeze that takes longer is ended and undone"
    )
    timeout: Duration = Field(
        timedelta(minutes=5),
        description="writers are set free after this time, whatever is still being captured",
    )
