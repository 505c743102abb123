"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass

from llmvault.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        subject: what, e.g. ``restic`` or ``repository "primary"``.
        next_step: what to do when the verdict is not proven; empty otherwise.
    """

    subject: str
    verdict: Verdict
    detail: str
    next_step: str = ""
