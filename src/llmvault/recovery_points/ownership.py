"""Whether a repository may be written to: the one used so far, and not another project's."""

from __future__ import annotations

from collections.abc import Sequence

from llmvault.core.errors import RefusedError
from llmvault.restic.output import Snapshot

TAG = "llmvault:"


def refuse_replaced(repository: str, identity: str, expected: str) -> None:
    """Refuse a repository that is not the one used so far.

    Args:
        identity: restic's id of it now.
        expected: the id that was remembered; empty when none was.

    Raises:
        RefusedError: when they differ.
    """
    if expected and identity != expected:
        raise RefusedError(
            f'repository "{repository}"',
            f"it is not the one used so far (id {identity[:8]}, expected {expected[:8]})",
            "correct its address, or start anew with: llmvault init --adopt",
        )


def refuse_foreign(repository: str, snapshots: Sequence[Snapshot]) -> None:
    """Refuse a repository that is in use, and not by llmvault.

    Raises:
        RefusedError: when there are snapshots, none of them llmvault's.
    """
    if snapshots and not any(tag.startswith(TAG) for one in snapshots for tag in one.tags):
        raise RefusedError(
            f'repository "{repository}"',
            f"it belongs to another project: none of its {len(snapshots)} snapshots is llmvault's",
            "give llmvault a repository of its own",
        )
