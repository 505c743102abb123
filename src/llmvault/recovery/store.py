"""What this host remembers of copies of the installation: ``STATE/installation.json``.

Losing it costs one more whole copy, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from llmvault.core.files import waiting_lock, write_durably
from llmvault.recovery.model import Kept

_TYPES = {"identity": str, "snapshot": str, "size": int, "policies": str, "stamped": int}


@dataclass(frozen=True, slots=True)
class CopyStore:
    """Repository name -> what it holds."""

    state: Path

    def kept(self) -> dict[str, Kept]:
        """Return what is remembered; nothing when no readable file is there."""
        try:
            raw = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(raw, dict):
            return {}
        return {name: Kept(**one) for name, one in raw.items() if _is_kept(one)}

    def remember(self, kept: Mapping[str, Kept]) -> None:
        """Replace what is remembered."""
        rows = {name: asdict(one) for name, one in kept.items()}
        write_durably(self._path, json.dumps(rows).encode())

    def exclusive(self) -> AbstractContextManager[None]:
        """Wait for whoever copies on this host, and keep others waiting."""
        return waiting_lock(self.state / "locks" / "installation.lock")

    @property
    def _path(self) -> Path:
        return self.state / "installation.json"


def _is_kept(raw: object) -> bool:
    return isinstance(raw, dict) and {key: type(one) for key, one in raw.items()} == _TYPES
