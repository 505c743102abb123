"""Which snapshots of ours exist: the one that the next increment needs, and those in the making.

One file for each source and plan, on this host. A snapshot is written down before it is made; one
that is neither kept nor of the present run belongs to a run that died, and is destroyed by the
next. The caller holds the plan's lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import private_directory, write_durably

PREFIX = "llmvault-stream-"
HOLD = "llmvault"


@dataclass(frozen=True, slots=True)
class Kept:
    """The snapshot that the next increment begins at.

    Attributes:
        handle: ``dataset@name``.
        form: how its stream was sent; an increment must be sent in the same way.
    """

    handle: str
    guid: str
    recovery_point: str
    form: str


@dataclass(frozen=True, slots=True)
class Journal:
    """What a source's file says.

    Attributes:
        pending: ``dataset@name`` of snapshots that are to be destroyed unless their run settles.
    """

    kept: Kept | None = None
    pending: tuple[str, ...] = ()

    def intending(self, handle: str) -> Journal:
        """Return it with one more snapshot in the making."""
        return replace(self, pending=(*self.pending, handle))

    def without(self, handles: Sequence[str]) -> Journal:
        """Return it without snapshots that are gone."""
        return replace(self, pending=tuple(one for one in self.pending if one not in handles))


def read_journal(path: Path) -> Journal:
    """Return what a file says; nothing when there is none.

    Raises:
        UnavailableError: when it cannot be read or understood: then nobody knows what is ours.
    """
    try:
        raw = json.loads(path.read_bytes())
        kept = Kept(**raw["kept"]) if raw["kept"] else None
        return Journal(kept, tuple(map(str, raw["pending"])))
    except FileNotFoundError:
        return Journal()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            str(path),
            f"it cannot be read: {error!r}",
            f"see `zfs list -t snapshot` for snapshots that begin with {PREFIX}, remove the file",
        ) from error


def write_journal(path: Path, journal: Journal) -> None:
    """Replace a file; durable on return.

    Raises:
        UnavailableError: when it cannot be written: then no snapshot may be made.
    """
    try:
        private_directory(path.parent)
        write_durably(path, json.dumps(asdict(journal)).encode())
    except OSError as error:
        raise UnavailableError(
            str(path), f"it cannot be written: {error.strerror}", "free space"
        ) from error


def refuse_foreign(handle: str) -> None:
    """Raise unless a snapshot has a name that a run of ours gave.

    Raises:
        RefusedError: when it has not.
    """
    dataset, _, name = handle.partition("@")
    if not dataset or not name.startswith(PREFIX):
        raise RefusedError(
            f"snapshot {handle}",
            f"its name does not begin with {PREFIX}: it is not one of ours",
            "destroy it by hand if it is yours to destroy",
        )
