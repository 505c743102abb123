"""Verdicts: what a check established, and how verdicts combine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What was established. A check that could not run is ``UNPROVEN``, never ``PROVEN``."""

    PROVEN = "proven"
    FAILED = "failed"
    UNPROVEN = "unproven"

    @property
    def exit_code(self) -> int:
        """The process exit code that tells this verdict to scripts."""
        return {Verdict.PROVEN: 0, Verdict.FAILED: 1, Verdict.UNPROVEN: 3}[self]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, with the reason for its verdict.

    Attributes:
        name: stable machine name, e.g. ``digests`` or ``recall@10``.
        source: the source it speaks of; empty when it speaks of the whole.
        verdict: what was established.
        detail: what was seen, in one sentence with figures.
    """

    name: str
    source: str
    verdict: Verdict
    detail: str


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of the whole: failed if any is, unproven if any is or there are none."""
    seen = set(verdicts)
    if Verdict.FAILED in seen:
        return Verdict.FAILED
    if Verdict.UNPROVEN in seen or not seen:
        return Verdict.UNPROVEN
    return Verdict.PROVEN
