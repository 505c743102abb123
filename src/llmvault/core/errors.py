"""The error families of llmvault and the exit code of each.

```
VaultError                 1  the thing checked is bad
├── PolicyError            2  wrong usage or a wrong policy file; nothing was touched
├── IntegrityError         1  bytes are not what they were recorded to be
├── UnprovenError          3  it could not be checked, or was only partly done
├── RefusedError           4  a safety rule, hold, lock or missing approval says no
└── UnavailableError       5  repository, store, host or tool cannot be reached; safe to retry
```
"""

from __future__ import annotations

from typing import ClassVar


class VaultError(Exception):
    """Names the thing, the cause and the next step; never contains a secret.

    Args:
        thing: what it happened to, e.g. ``repository "primary"``.
        cause: what was seen, in one sentence.
        next_step: what the reader should do now; empty when there is nothing sensible to say.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, thing: str, cause: str, next_step: str = "") -> None:
        super().__init__(f"{thing}: {cause}")
        self.thing = thing
        self.cause = cause
        self.next_step = next_step

    def diagnostics(self) -> str:
        """Return the message for people: one line, and one more with the next step if any."""
        line = f"{self.thing}: {self.cause}"
        return f"{line}\n  next: {self.next_step}" if self.next_step else line


class PolicyError(VaultError):
    """Wrong usage or a wrong policy file; nothing was touched."""

    exit_code = 2


class IntegrityError(VaultError):
    """Bytes are not what they were recorded to be."""

    exit_code = 1


class UnprovenError(VaultError):
    """It could not be checked, or was only partly done."""

    exit_code = 3


class RefusedError(VaultError):
    """A safety rule, hold, lock or missing approval says no."""

    exit_code = 4


class UnavailableError(VaultError):
    """Repository, store, host or tool cannot be reached; retrying is safe."""

    exit_code = 5
