"""The scratch hosts there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmvault.core.errors import PolicyError
from llmvault.core.ids import Ids
from llmvault.drill.hosts.interface import ScratchHost
from llmvault.drill.hosts.local import LocalHost

NAMES = ("local",)


def build_host(name: str, *, base: Path, ids: Ids, live: Mapping[str, Path]) -> ScratchHost:
    """Return a scratch host by name.

    Raises:
        PolicyError: when there is none of that name.
    """
    if name not in NAMES:
        raise PolicyError(
            f'host "{name}"', "there is no such scratch host", f"use {', '.join(NAMES)}"
        )
    return LocalHost(base, ids, live)
