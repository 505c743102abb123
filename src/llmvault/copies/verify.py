"""Reading packs back, a part of the repository at a time, without a lock on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmvault.copies.model import PartRead
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.verdict import Verdict
from llmvault.ledger.interface import Ledger
from llmvault.restic.repo import CheckOutcome, Repository


@dataclass(frozen=True, slots=True)
class VerifyPorts:
    """What reading back works with.

    Attributes:
        repository: opened with the credential that may only read.
    """

    clock: Clock
    repository: Repository
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class PartResult:
    """What reading one part back told."""

    reading: PartRead
    seconds: float
    reason: str


def read_part(ports: VerifyPorts, part: int, parts: int) -> PartResult:
    """Read one part of the packs and check everything that restic can.

    Without a lock somebody may prune meanwhile, which looks like damage; what was found is
    therefore looked for a second time.
    """
    name = ports.repository.name
    began = ports.clock.monotonic()
    facts: Mapping[str, object] = {"repository": name, "part": part, "parts": parts}
    ports.ledger.append("verification.started", facts)
    outcome, verdict, reason = _check_twice(ports.repository, part, parts)
    errors = outcome.errors if outcome else 0
    now = ports.clock.now()
    ports.ledger.append("verification.done", {**facts, "verdict": verdict.value, "errors": errors})
    seconds = round(ports.clock.monotonic() - began, 3)
    return PartResult(PartRead(part, parts, now, verdict, errors), seconds, reason)


def _check_twice(
    repository: Repository, part: int, parts: int
) -> tuple[CheckOutcome | None, Verdict, str]:
    found = _check(repository, part, parts)
    return found if found[1] is not Verdict.FAILED else _check(repository, part, parts)


def _check(
    repository: Repository, part: int, parts: int
) -> tuple[CheckOutcome | None, Verdict, str]:
    try:
        outcome = repository.check(part, parts)
    except IntegrityError as error:
        return CheckOutcome(1, ()), Verdict.FAILED, error.diagnostics()
    except VaultError as error:
        return None, Verdict.UNPROVEN, error.diagnostics()
    if outcome.errors:
        said = "; ".join(outcome.messages[:3])
        return outcome, Verdict.FAILED, f"{outcome.errors} errors: {said}"
    return outcome, Verdict.PROVEN, ""
