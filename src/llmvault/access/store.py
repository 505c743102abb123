"""Requests and approvals as files of the state directory: ``access/requests``, ``…/approvals``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmvault.access.model import Approval, Request
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.files import write_durably

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AccessStore:
    """What was asked for and approved on this host."""

    directory: Path

    def request(self, digest: str) -> Request | None:
        """Return what was asked for under a digest; None when nothing was.

        Raises:
            IntegrityError: when what is kept of it cannot be read.
        """
        path = self.directory / "requests" / f"{digest}.json"
        return _read(path, _request) if path.exists() else None

    def requests(self) -> tuple[Request, ...]:
        """Return all requests, the oldest first."""
        files = sorted((self.directory / "requests").glob("*.json"))
        found = [_read(path, _request) for path in files]
        return tuple(sorted(found, key=lambda request: request.asked[0]["at"]))

    def keep_request(self, request: Request) -> None:
        """Keep a request, or replace it."""
        path = self.directory / "requests" / f"{request.digest}.json"
        values = asdict(request) | {"asked": [dict(asked) for asked in request.asked]}
        write_durably(path, canonical_bytes(values))

    def approvals(self, digest: str) -> tuple[Approval, ...]:
        """Return what approves a digest, whether it counts or not."""
        files = sorted((self.directory / "approvals" / digest).glob("*.json"))
        return tuple(_read(path, _approval) for path in files)

    def all_approvals(self) -> tuple[Approval, ...]:
        """Return every approval that was ever kept."""
        files = sorted((self.directory / "approvals").glob("*/*.json"))
        return tuple(_read(path, _approval) for path in files)

    def keep_approval(self, digest: str, name: str, approval: Approval) -> None:
        """Keep an approval under a name, or replace it."""
        path = self.directory / "approvals" / digest / f"{name}.json"
        write_durably(path, canonical_bytes(asdict(approval)))


def _read(path: Path, read: Callable[[dict[str, Any]], _T]) -> _T:
    try:
        return read(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            str(path), f"it cannot be read: {error}", "ask again, and have it approved again"
        ) from error


def _request(raw: dict[str, Any]) -> Request:
    asked = tuple(dict(one) for one in raw["asked"])
    if not asked or not all(isinstance(one["at"], str) for one in asked):
        raise ValueError("it does not say who asked when")
    return Request(str(raw["digest"]), str(raw["rule"]), str(raw["what"]), asked)


def _approval(raw: dict[str, Any]) -> Approval:
    return Approval(str(raw["statement"]), str(raw["signature"]))
