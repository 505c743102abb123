"""Retention's files in the state directory: plans that people were asked about, and runs.

``retention/plans/DIGEST.json`` is a plan's document; ``retention/runs/DIGEST.json`` says how far
its execution has come, so that a run that died is taken up where it was.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmvault.core.canonical import canonical_bytes, digest
from llmvault.core.errors import IntegrityError, PolicyError
from llmvault.core.files import write_durably
from llmvault.retention.model import FORMAT, Approved, RetentionPlan

STARTED, FINISHED, STOPPED = "started", "finished", "stopped"


@dataclass(frozen=True, slots=True)
class Run:
    """How far the execution of a plan has come.

    Attributes:
        state: ``started``, ``finished``, or ``stopped`` (the world changed; it will not go on).
        began: RFC 3339.
        freed: repository -> bytes that prune freed, None when restic did not say; a repository that
            is absent has not been pruned yet.
    """

    digest: str
    state: str
    began: str
    freed: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class RetentionStore:
    """Plans and runs on this host."""

    directory: Path

    def keep_plan(self, plan: RetentionPlan) -> Path:
        """Keep a plan under its digest, and return where."""
        path = self.directory / "plans" / f"{plan.digest}.json"
        write_durably(path, canonical_bytes(plan.document))
        return path

    def plan(self, wanted: str) -> Approved:
        """Return the plan of a digest, or of the beginning of one (8 characters at least).

        Raises:
            PolicyError: when there is none, or more than one.
            IntegrityError: when its bytes are not those that the digest names.
        """
        files = sorted((self.directory / "plans").glob(f"{_prefix(wanted)}*.json"))
        if len(files) != 1:
            cause = "it is not kept on this host" if not files else "several begin so"
            raise PolicyError(
                f"retention plan {wanted[:12]}",
                cause,
                "make one: llmvault retention plan --request",
            )
        return _read(files[0])

    def plans(self) -> tuple[Approved, ...]:
        """Return every plan that is kept.

        Raises:
            IntegrityError: when the bytes of one are not those that its digest names.
        """
        return tuple(_read(path) for path in sorted((self.directory / "plans").glob("*.json")))

    def run(self, of_plan: str) -> Run | None:
        """Return how far the execution of a plan has come; None when it has not begun."""
        path = self.directory / "runs" / f"{of_plan}.json"
        if not path.exists():
            return None
        try:
            raw = json.loads(path.read_bytes())
            return Run(str(raw["digest"]), str(raw["state"]), str(raw["began"]), dict(raw["freed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                str(path),
                f"it cannot be read: {error}",
                "move it away, and make a new plan: llmvault retention plan --request",
            ) from error

    def keep_run(self, run: Run) -> None:
        """Keep how far a run has come."""
        write_durably(self.directory / "runs" / f"{run.digest}.json", canonical_bytes(asdict(run)))


def _prefix(wanted: str) -> str:
    if len(wanted) < 8 or not set(wanted) <= set("0123456789abcdef"):
        raise PolicyError(
            f"retention plan {wanted[:70]!r}",
            "it is no digest, nor the first 8 characters of one",
            "llmvault retention plan prints it",
        )
    return wanted


def _read(path: Path) -> Approved:
    thing = f"retention plan {path.stem[:12]}"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        known = document["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(thing, f"it cannot be read: {error}") from error
    if digest(document) != path.stem:
        raise IntegrityError(thing, "it was altered: its bytes do not have this digest")
    if not known:
        raise IntegrityError(thing, f"its format is not {FORMAT}")
    return Approved(path.stem, document)
