"""What a policy says of people, and of what they must approve."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from llmvault.policy.fields import Duration, Model, Name


def _public_key(value: str) -> str:
    words = value.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        length = int.from_bytes(blob[:4], "big")
        fits = blob[4 : 4 + length].decode("ascii") == words[0]
    except (IndexError, ValueError, binascii.Error):
        fits = False
    if not fits:
        raise ValueError("is no SSH public key; copy the line of a file such as id_ed25519.pub")
    return f"{words[0]} {words[1]}"


PublicKey = Annotated[str, AfterValidator(_public_key)]


class ApprovalRule(Model):
    """Who must approve something before it is done; who asks for it may never approve it."""

    approvers: int = Field(1, ge=1, description="how many different people")
    roles: tuple[Name, ...] = Field((), description="each in one of these roles; any if empty")
    valid_for: Duration = Field(timedelta(days=7), description="how long an approval holds")
    hardware: bool = Field(False, description="only keys that are kept in hardware (sk-)")
    touch: bool = Field(True, description="hardware keys must have been touched")
    pin: bool = Field(False, description="hardware keys must have verified a PIN or a finger")


class Person(Model):
    """Somebody who may ask for things or approve them. The name is a handle, not a real name."""

    roles: tuple[Name, ...] = Field((), description="what the person may approve as")
    keys: tuple[PublicKey, ...] = Field(
        (), description="SSH public keys; sk- keys are kept in hardware"
    )
    accounts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="login names on hosts, so that asking for something is known as theirs"
    )

    def may_approve(self, rule: ApprovalRule) -> bool:
        """Whether the person has a role and a key that the rule asks for."""
        role = not rule.roles or not set(rule.roles).isdisjoint(self.roles)
        return role and any(key.startswith("sk-") or not rule.hardware for key in self.keys)
