"""When a stamp is asked for, and what the stamps that are kept prove; with a made-up authority."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Check, Verdict
from llmvault.keys.note import add_signature, new_signing_key
from llmvault.keys.store import KeyFiles
from llmvault.ledger.model import Checkpoint
from llmvault.ledger.stamps import StampFiles, overdue_stamp, stamp_if_due, verify_stamps
from llmvault.ledger.writer import TileLedger

DAY = timedelta(days=1)


@dataclass
class MadeUpAuthority:
    """Stamps with a digest and its time, in clear."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    away: bool = False
    asked: int = 0
    name: str = "https://tsa.example"

    def stamp(self, message: bytes) -> tuple[bytes, datetime]:
        self.asked += 1
        if self.away:
            raise UnavailableError("authority", "no route to host")
        text = f"{hashlib.sha256(message).hexdigest()} {self.now.isoformat()}"
        return text.encode(), self.now

    def time_of(self, response: bytes, message: bytes) -> datetime:
        digest, _, at = response.decode().partition(" ")
        if digest != hashlib.sha256(message).hexdigest():
            raise IntegrityError("time stamp", "it is of something else")
        return datetime.fromisoformat(at)


def stamp(ledger: TileLedger, authority: MadeUpAuthority) -> Check | None:
    stamps = StampFiles(ledger.directory)
    checkpoint = ledger.files.checkpoint()
    return stamp_if_due(stamps, authority, checkpoint, now=authority.now, every=DAY)


def verdict(ledger: TileLedger, keys: KeyFiles, authority: MadeUpAuthority) -> tuple[Verdict, str]:
    found = verify_stamps(ledger.files, authority, keys.verifiers(), now=authority.now, every=DAY)
    return found.verdict, found.detail


def test_a_stamp_is_asked_for_when_it_is_due(ledger: TileLedger, keys: KeyFiles) -> None:
    authority = MadeUpAuthority()
    assert stamp(ledger, authority) is None  # an empty ledger has nothing to stamp
    ledger.append("t.e", {})
    assert verdict(ledger, keys, authority)[1].startswith("not yet stamped; run:")
    first = stamp(ledger, authority)
    assert first is not None
    assert first.verdict is Verdict.PROVEN
    ledger.append("t.e", {})
    assert stamp(ledger, authority) is None  # younger than a day
    assert verdict(ledger, keys, authority)[0] is Verdict.PROVEN
    authority.now += DAY
    assert stamp(ledger, authority) is not None
    authority.now += 9 * DAY
    assert stamp(ledger, authority) is None  # nothing new
    assert authority.asked == 2
    assert verdict(ledger, keys, authority) == (
        Verdict.PROVEN,
        f"2 verify; the first 2 entries were there {_shown(authority.now - 9 * DAY)}",
    )


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_what_could_not_be_stamped_is_remembered_and_asked_for_again(
    ledger: TileLedger, keys: KeyFiles
) -> None:
    authority = MadeUpAuthority(away=True)
    ledger.append("t.e", {})
    for attempt in (1, 2):
        failed = stamp(ledger, authority)
        assert failed is not None
        assert failed.verdict is Verdict.UNPROVEN
        assert f"attempts: {attempt}, the last said: authority: no route to host" in failed.detail
        ledger.append("t.e", {})
        authority.now += timedelta(hours=1)
    found, detail = verdict(ledger, keys, authority)
    assert found is Verdict.UNPROVEN
    assert "the checkpoint of 1 entries waits since" in detail
    assert "(2h 00m)" in detail or "(120m 00s)" in detail
    assert overdue_stamp(ledger.files, now=authority.now, every=DAY) == detail
    authority.away = False
    assert stamp(ledger, authority) is not None
    assert verdict(ledger, keys, authority)[0] is Verdict.PROVEN
    assert overdue_stamp(ledger.files, now=authority.now, every=DAY) == ""


def test_entries_that_nobody_stamps_any_more_are_told(ledger: TileLedger, keys: KeyFiles) -> None:
    authority = MadeUpAuthority()
    ledger.append("t.e", {})
    stamp(ledger, authority)
    ledger.append("t.e", {})
    authority.now += 3 * DAY
    found, detail = verdict(ledger, keys, authority)
    assert found is Verdict.UNPROVEN
    assert "entries from 1 on are not yet stamped" in detail


@pytest.mark.parametrize("damage", ["checkpoint", "response", "missing", "signature", "no text"])
def test_a_stamp_that_was_touched_is_found(ledger: TileLedger, keys: KeyFiles, damage: str) -> None:
    authority = MadeUpAuthority()
    ledger.append("t.e", {})
    stamp(ledger, authority)
    (note,) = (ledger.directory / "stamps").glob("*.checkpoint")
    response = note.with_suffix(".tsr")
    if damage == "checkpoint":
        note.write_text(note.read_text().replace("\n1\n", "\n2\n"))
    elif damage == "response":
        response.write_bytes(b"0" + response.read_bytes())
    elif damage == "missing":
        note.unlink()
    elif damage == "no text":
        note.write_bytes(b"\xff\n")
    else:
        other = new_signing_key("other")
        text = add_signature(note.read_text(), other)
        head, _, signatures = text.rpartition("\n\n")
        note.write_text(f"{head}\n\n{signatures.splitlines()[1]}\n")
        response.write_bytes(authority.stamp(note.read_bytes())[0])
    assert verdict(ledger, keys, authority)[0] is Verdict.FAILED


def test_a_ledger_rewritten_since_its_stamp_is_found(ledger: TileLedger, keys: KeyFiles) -> None:
    authority = MadeUpAuthority()
    ledger.append_all([("t.e", {"n": n}) for n in range(3)])
    stamp(ledger, authority)
    for path in ledger.directory.rglob("*"):  # begun anew by who holds the key
        if path.is_file() and "stamps" not in path.parts and path.name != "lock":
            path.unlink()
    origin = keys.verifiers()[0].name
    again = TileLedger(
        ledger.directory, keys.signing_key, keys.verifiers, ledger.clock, ledger.host
    )
    again.begin(origin)
    again.append("t.e", {"n": 0})
    found, detail = verdict(again, keys, authority)
    assert (found, "it was cut back, or is another one" in detail) == (Verdict.FAILED, True)
    again.append_all([("t.e", {"other": n}) for n in range(5)])
    found, detail = verdict(again, keys, authority)
    assert (found, "are not those that were stamped" in detail) == (Verdict.FAILED, True)


def test_a_clock_that_was_ahead_is_found(ledger: TileLedger, keys: KeyFiles) -> None:
    authority = MadeUpAuthority(now=datetime.now(UTC) - timedelta(hours=3))
    ledger.append("t.e", {})
    stamp(ledger, authority)
    found, detail = verdict(ledger, keys, authority)
    assert found is Verdict.FAILED
    assert "this host's clock was ahead" in detail


def test_a_state_that_cannot_be_read_counts_as_nothing(ledger: TileLedger, keys: KeyFiles) -> None:
    authority = MadeUpAuthority()
    ledger.append("t.e", {})
    stamp(ledger, authority)
    (ledger.directory / "stamps/state.json").write_text("[1")
    assert StampFiles(ledger.directory).state().stamped is None
    assert verdict(ledger, keys, authority)[0] is Verdict.PROVEN
    assert stamp(ledger, authority) is not None
    checkpoint: Checkpoint = ledger.files.checkpoint()
    assert StampFiles(ledger.directory).state().stamped is not None
    assert checkpoint.head.size == 1
