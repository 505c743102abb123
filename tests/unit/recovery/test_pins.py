"""What a repository has pinned of a ledger, by the tags and files of its snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from llmvault.core.errors import UnavailableError
from llmvault.core.verdict import Check, Verdict
from llmvault.keys.store import KeyFiles
from llmvault.ledger.model import Checkpoint
from llmvault.ledger.verify import verify_ledger
from llmvault.ledger.writer import TileLedger
from llmvault.recovery.model import ROOT_TAG, SIZE_TAG, TAG
from llmvault.recovery.pins import repository_pins
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository
from tests.unit.ledger.conftest import ORIGIN, open_at

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Place:
    """A repository with copies of a ledger."""

    copies: list[Snapshot] = field(default_factory=list)
    notes: dict[str, bytes] = field(default_factory=dict)
    away: bool = False

    def with_patience(self, _: float) -> Place:
        return self

    def snapshots(self) -> tuple[Snapshot, ...]:
        if self.away:
            raise UnavailableError("repository", "it did not answer")
        return tuple(self.copies)

    @contextmanager
    def read_file(self, snapshot: str, path: str) -> Iterator[Iterator[bytes]]:
        assert path == "/ledger/checkpoint"
        yield iter([self.notes[snapshot]])

    def add(self, kept: Checkpoint, *tags: str, note: bytes | None = None) -> None:
        """Add a copy at a checkpoint; `tags` beside the ledger's name and size."""
        name, number = f"copy{len(self.copies)}", len(self.copies)
        every = (f"{TAG}={kept.head.origin}", f"{SIZE_TAG}={kept.head.size}", *tags)
        when = NOON + timedelta(minutes=number)
        self.copies.append(Snapshot(name, when, "host", every, ()))
        self.notes[name] = kept.note.encode() if note is None else note


def root_tag(kept: Checkpoint) -> str:
    return f"{ROOT_TAG}={kept.head.root.hex()}"


@pytest.fixture
def ledger(tmp_path: Path) -> TileLedger:
    return open_at(tmp_path)


@pytest.fixture
def kept(ledger: TileLedger) -> list[Checkpoint]:
    """Checkpoints of 1, 2 and 3 entries."""
    found = []
    for number in range(3):
        ledger.append("t.e", {"n": number})
        found.append(ledger.files.checkpoint())
    return found


def told(place: Place, ledger: TileLedger, tmp_path: Path) -> Check:
    """Return what verifying a ledger says of a repository."""
    opened = cast(dict[str, Any], {"a": lambda: cast(Repository, place)})
    pins, silent = repository_pins(opened, ORIGIN, {"host"})
    checks = verify_ledger(ledger.files, KeyFiles(tmp_path / "keys").verifiers(), pins)
    (found,) = [one for one in (*checks, *silent) if one.source == "repository:a"]
    return found


def test_all_copies_are_compared_and_the_newest_is_read(
    ledger: TileLedger, kept: list[Checkpoint], tmp_path: Path
) -> None:
    place = Place()
    place.add(kept[0])  # made before there were such tags
    place.add(kept[1], root_tag(kept[1]))
    place.add(kept[2], root_tag(kept[2]))
    found = told(place, ledger, tmp_path)
    assert found.verdict is Verdict.PROVEN
    assert (
        found.detail
        == "its first 3 entries are those that were pinned; so are those of 1 earlier heads"
    )


def test_an_older_copy_that_differs_is_a_fork(
    ledger: TileLedger, kept: list[Checkpoint], tmp_path: Path
) -> None:
    place = Place()
    place.add(kept[1], f"{ROOT_TAG}={'0' * 64}")
    place.add(kept[2], root_tag(kept[2]))
    found = told(place, ledger, tmp_path)
    assert (found.verdict, "it is forked: its first 2" in found.detail) == (Verdict.FAILED, True)


def test_a_tag_cannot_hide_the_truth(
    ledger: TileLedger, kept: list[Checkpoint], tmp_path: Path
) -> None:
    liar = Place()
    liar.add(kept[2], root_tag(kept[2]))
    liar.copies.append(
        Snapshot("liar", NOON, "host", (f"{TAG}={ORIGIN}", f"{SIZE_TAG}=900", f"{ROOT_TAG}=no"), ())
    )
    liar.notes["liar"] = kept[0].note.encode()
    found = told(liar, ledger, tmp_path)
    assert (found.verdict, "900 entries were pinned" in found.detail) == (Verdict.FAILED, True)


def test_a_checkpoint_that_is_none_fails_and_silence_is_unproven(
    ledger: TileLedger, kept: list[Checkpoint], tmp_path: Path
) -> None:
    nonsense = Place()
    nonsense.add(kept[2], note=b"\xff\xfe")
    assert told(nonsense, ledger, tmp_path).verdict is Verdict.FAILED
    assert told(Place(away=True), ledger, tmp_path).verdict is Verdict.UNPROVEN
    assert told(Place(), ledger, tmp_path).verdict is Verdict.UNPROVEN
    other = Place()
    other.add(Checkpoint(kept[2].head.__class__("other/ledger", 3, bytes(32)), kept[2].note))
    assert told(other, ledger, tmp_path).verdict is Verdict.UNPROVEN


def test_an_older_ledger_is_refused(
    ledger: TileLedger, kept: list[Checkpoint], tmp_path: Path
) -> None:
    place = Place()
    place.add(kept[2], root_tag(kept[2]))
    (tmp_path / "ledger/checkpoint").write_text(kept[1].note)
    found = told(place, ledger, tmp_path)
    assert (found.verdict, "an older one" in found.detail) == (Verdict.FAILED, True)
