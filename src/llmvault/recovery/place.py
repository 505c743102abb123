"""Putting a recovered installation in place. Every step may be repeated after a crash."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import private_directory, remove_tree, sync_directory, write_durably
from llmvault.ledger.files import CHECKPOINT

# What a command leaves in the state without its holding anything.
_EMPTY = frozenset({"locks", "restic-cache", "recovering", "recovery.json"})


@dataclass(frozen=True, slots=True)
class Marker:
    """A recovery that has begun to put things in place: ``STATE/recovery.json``.

    Attributes:
        id: names this recovery in the ledger.
        identity: restic's id of the repository.
        size: how many entries the ledger had in it.
    """

    id: str
    identity: str
    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where an installation is on this machine, and where it is laid out before it gets there."""

    state: Path
    policies: Path

    @property
    def staging(self) -> Path:
        """Where a whole copy is restored to."""
        return self.state / "recovering"

    @property
    def staged_policies(self) -> Path:
        """Beside the policies' own place, so that relative paths in them mean the same."""
        return self.policies.with_name(f".{self.policies.name}.recovering")

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.state / "ledger"

    @property
    def marker_path(self) -> Path:
        """Tells that a recovery is under way."""
        return self.state / "recovery.json"

    def marker(self) -> Marker | None:
        """Return the recovery that is under way; None when there is none.

        Raises:
            RefusedError: when the state or the policies hold something that no recovery put there.
        """
        try:
            return Marker(**json.loads(self.marker_path.read_bytes()))
        except FileNotFoundError:
            self._refuse_occupied()
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError(
                str(self.marker_path), f"it cannot be read: {error}", "start with an empty state"
            ) from error

    def _refuse_occupied(self) -> None:
        for place, passed in ((self.state, _EMPTY), (self.policies, frozenset[str]())):
            try:
                found = sorted({one.name for one in place.iterdir()} - passed)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UnavailableError(str(place), error.strerror or str(error)) from error
            if found:
                raise RefusedError(
                    str(place),
                    f"it is not empty ({', '.join(found[:3])}); nothing is recovered over what is"
                    " there",
                    "give an empty or a new directory, or move this one away",
                )

    def mark(self, marker: Marker) -> None:
        """Say that from now on things are put in place."""
        write_durably(self.marker_path, json.dumps(asdict(marker)).encode())

    def clear(self) -> None:
        """Remove what is laid out, but not what is in place."""
        for place in (self.staging, self.staged_policies):
            if place.exists():
                remove_tree(place)

    def done(self) -> None:
        """Say that everything is in place."""
        self.clear()
        self.marker_path.unlink(missing_ok=True)

    def put_ledger(self) -> None:
        """Move the laid out ledger in place, unless that was done."""
        if (self.ledger / CHECKPOINT).exists():
            return
        source = self.staging / "ledger"
        for path in _files(source):
            if path.name != CHECKPOINT or path.parent != source:
                _copy(path, self.ledger / path.relative_to(source))
        _copy(source / CHECKPOINT, self.ledger / CHECKPOINT)  # the last: now it is a ledger

    def put_state(self) -> None:
        """Put the other folders of the state in place; what is there already stays."""
        source = self.staging / "state"
        for path in _files(source):
            to = self.state / path.relative_to(source)
            if not to.exists():
                _copy(path, to)

    def put_policies(self) -> None:
        """Put the policies in place, all at once."""
        if not self.staged_policies.exists() or _holds_something(self.policies):
            return  # what is there was put there by this recovery, before it died
        try:
            private_directory(self.policies.parent)
            self.staged_policies.replace(self.policies)
            sync_directory(self.policies.parent)
        except OSError as error:
            raise UnavailableError(
                str(self.policies),
                f"the policies cannot be put there: {error.strerror}",
                "give a directory that does not exist yet or is empty, on the same filesystem",
            ) from error


def _holds_something(folder: Path) -> bool:
    return folder.exists() and next(folder.iterdir(), None) is not None


def _files(folder: Path) -> Iterable[Path]:
    for above, _, names in os.walk(folder):
        for name in names:
            yield Path(above, name)


def _copy(path: Path, to: Path) -> None:
    private_directory(to.parent)
    new = to.with_name(f".{to.name}.new")
    shutil.copyfile(path, new)
    new.chmod(0o600)
    with new.open("rb") as stream:
        os.fsync(stream.fileno())
    new.replace(to)
    sync_directory(to.parent)
