"""Which part is read next, and whether the copies are 3-2-1-1-0. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from llmvault.copies.model import CopyFacts, Coverage, PartRead, Placed
from llmvault.core.verdict import Check, Verdict


def coverage(
    readings: Iterable[PartRead], parts: int, within: timedelta, now: datetime
) -> Coverage:
    """Return how much was read back; readings of another division into parts do not count."""
    newest: dict[int, PartRead] = {}
    sound: dict[int, datetime] = {}
    for one in sorted(readings, key=lambda reading: reading.at):
        if one.parts != parts or one.verdict is Verdict.UNPROVEN:
            continue
        newest[one.part] = one
        if one.verdict is Verdict.PROVEN:
            sound[one.part] = one.at
    fresh = {part for part, at in sound.items() if now - at <= within and at <= now}
    errors = sum(one.errors for one in newest.values())
    failed = any(one.verdict is Verdict.FAILED for one in newest.values())
    never = [part for part in range(1, parts + 1) if part not in sound]
    waiting = never or sorted(sound, key=lambda part: (sound[part], part))
    verdict = Verdict.PROVEN if len(fresh) == parts else Verdict.UNPROVEN
    return Coverage(
        parts=parts,
        read=len(fresh),
        oldest=None if never else min(sound.values()),
        overdue=tuple(sorted(set(sound) - fresh)),
        next=waiting[0],
        errors=errors,
        verdict=Verdict.FAILED if failed else verdict,
    )


def parts_to_read(known: Coverage, *, at_least: int) -> tuple[int, ...]:
    """Return what to read now: what is overdue, and the next ones in turn."""
    wanted = list(known.overdue)
    part = known.next
    while len(wanted) < min(at_least, known.parts):
        if part not in wanted:
            wanted.append(part)
        part = part % known.parts + 1
    return tuple(wanted)


def judge_copies(live: Placed, copies: Sequence[CopyFacts]) -> tuple[Check, ...]:
    """Return the five demands of 3-2-1-1-0, each with what was counted.

    Three copies, the live one included; on two kinds of media; one at another site and with
    another account; one offline or immutable; no error when they were last read back.
    """
    return (
        _three(copies),
        _two_media(live, copies),
        _elsewhere(live, copies),
        _immutable(copies),
        _no_errors(copies),
    )


def _three(copies: Sequence[CopyFacts]) -> Check:
    holding = [one.repository for one in copies if one.holds]
    unknown = [one.repository for one in copies if one.holds is None]
    count = 1 + len(holding)
    detail = f"{count} copies: the live one" + "".join(f", {name}" for name in holding)
    if count >= 3:
        return Check("copies", "", Verdict.PROVEN, detail)
    if count + len(unknown) >= 3:
        missing = f"{detail}; not known whether {' and '.join(unknown)} has the newest one"
        return Check("copies", "", Verdict.UNPROVEN, missing)
    return Check("copies", "", Verdict.FAILED, f"only {detail}")


def _two_media(live: Placed, copies: Sequence[CopyFacts]) -> Check:
    named = {"live": live.media} | {one.repository: one.place.media for one in _holding(copies)}
    media = {name for name in named.values() if name}
    detail = ", ".join(f"{name} on {kind or 'media not declared'}" for name, kind in named.items())
    return _decide("media", detail, len(media) >= 2, all(named.values()))


def _elsewhere(live: Placed, copies: Sequence[CopyFacts]) -> Check:
    found, known = [], bool(live.site and live.account)
    for one in _holding(copies):
        known = known and bool(one.place.site and one.place.account)
        other_site = one.place.site and live.site and one.place.site != live.site
        other_account = one.place.account and live.account and one.place.account != live.account
        if other_site and other_account:
            found.append(one)
    detail = ", ".join(
        f"{one.repository} at {one.place.site} with {one.place.account}" for one in found
    )
    where = "no copy is at another site with another account than the live one"
    return _decide("elsewhere", detail or where, bool(found), known)


def _immutable(copies: Sequence[CopyFacts]) -> Check:
    holding = _holding(copies)
    good = [one for one in holding if one.place.offline or one.immutable]
    if good:
        detail = ", ".join(
            f"{one.repository} is {'offline' if one.place.offline else 'immutable'}" for one in good
        )
        return Check("immutable", "", Verdict.PROVEN, detail)
    detail = "; ".join(f"{one.repository}: {one.why}" for one in holding) or "there is no copy"
    known = all(one.immutable is not None for one in holding)
    return _decide("immutable", detail, False, known)


def _no_errors(copies: Sequence[CopyFacts]) -> Check:
    holding = _holding(copies)
    detail = "; ".join(
        f"{one.repository}: {one.coverage.read} of {one.coverage.parts} parts read back in time, "
        f"{one.coverage.errors} errors"
        for one in holding
    )
    verdicts = {one.coverage.verdict for one in holding}
    if Verdict.FAILED in verdicts:
        return Check("no-errors", "", Verdict.FAILED, detail)
    proven = verdicts == {Verdict.PROVEN}
    verdict = Verdict.PROVEN if proven else Verdict.UNPROVEN
    return Check("no-errors", "", verdict, detail or "there is no copy")


def _holding(copies: Sequence[CopyFacts]) -> list[CopyFacts]:
    return [one for one in copies if one.holds]


def _decide(name: str, detail: str, holds: bool, known: bool) -> Check:
    """Return a check that fails only when everything it depends on is declared or observed."""
    if holds:
        return Check(name, "", Verdict.PROVEN, detail)
    if known:
        return Check(name, "", Verdict.FAILED, detail)
    return Check(name, "", Verdict.UNPROVEN, f"{detail}; declare place: {{site, account, media}}")
