"""Which points are to go, and directories of stores that are made anew without them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
)
from llmvault.core.files import remove_tree, sync_directory
from llmvault.sources.interface import (
    Doomed,
    Erased,
    Point,
    RecordSet,
    RecordsTarget,
    RecordsView,
)
from llmvault.sources.records.rows import encode_point
from llmvault.sources.stores.files import copying
from llmvault.sources.stores.settled import state_of

_FRESH = ".llmvault-erasing-"
_BEFORE = ".llmvault-before-erasing-"


@dataclass(frozen=True, slots=True)
class Going:
    """Which points of a store are to go.

    Attributes:
        subject_field: of the source's policy.
    """

    doomed: tuple[Doomed, ...]
    subject_field: str

    def of(self, records: RecordSet, point: Point) -> bool:
        """Whether a point is to go."""
        mine = [one for one in self.doomed if one.collection in ("", records.name)]
        if any(point.id in one.ids for one in mine):
            return True
        subject = encode_point(point, records, self.subject_field).subject
        return subject is not None and any(subject in one.subjects for one in mine)

    def concerns(self, name: str) -> bool:
        """Whether points of a collection may be to go."""
        return any(one.collection in ("", name) for one in self.doomed)


def going(source: str, doomed: Sequence[Doomed], subject_field: str) -> Going:
    """Return which points are to go.

    Raises:
        PolicyError: when subjects are given and the policy names no field for them.
        RefusedError: when ids are given without a collection.
    """
    thing = f'source "{source}"'
    if any(one.subjects for one in doomed) and not subject_field:
        raise PolicyError(
            thing, "its policy does not say which field names a person", "set subject_field"
        )
    if any(one.ids and not one.collection for one in doomed):
        raise RefusedError(thing, "ids are given without their collection", "name the collection")
    return Going(tuple(doomed), subject_field)


def ids_going(view: RecordsView, chosen: Going) -> dict[str, list[str]]:
    """Return collection -> ids of the points that are to go, of collections that have any.

    Raises:
        UnavailableError: when a collection that is named is not there.
    """
    found = {}
    sets = {records.name: records for records in view.record_sets()}
    require(sets, chosen)
    for name, records in sets.items():
        if chosen.concerns(name):
            ids = [point.id for point in view.points(name) if chosen.of(records, point)]
            if ids:
                found[name] = ids
    return found


def require(present: Mapping[str, object], chosen: Going) -> None:
    """Raise unless every collection that is named is there.

    Raises:
        UnavailableError: when one is not.
    """
    for one in chosen.doomed:
        if one.collection and one.collection not in present:
            raise UnavailableError(
                f"collection {one.collection}", "the store has no such collection"
            )


Making = Callable[[str], AbstractContextManager[RecordsTarget]]


@dataclass(frozen=True, slots=True)
class Remaking:
    """How a directory is made anew without some points.

    Attributes:
        live: the directory.
        thing: what the store is called in errors.
        reading: opens a copy of it, below a scratch directory.
        making: opens a fresh store at an address.
        pairs: of a fresh directory -> (new, old) directories, the new of which take the place of
            the old; the two as a whole when None.
        carry: copies what is no part of the store from the live to the fresh directory.
    """

    live: Path
    thing: str
    reading: Callable[[Path], AbstractContextManager[RecordsView]]
    making: Making
    pairs: Callable[[Path], Sequence[tuple[Path, Path]]] | None = None
    carry: Callable[[Path, Path], None] | None = None


def erase_by_remaking(how: Remaking, chosen: Going, scratch: Path) -> Erased:
    """Make a store anew without some points, verify it, and put it in the place of the old one.

    Raises:
        RefusedError: when a program has it open or wrote to it meanwhile; nothing was changed.
        IntegrityError: when the new store does not hold what it should; nothing was changed.
    """
    fresh = fresh_place(how.live)
    if how.live.is_dir():
        refuse_in_use(how.live, how.thing)
    before = state_of(how.live)
    try:
        with how.reading(scratch) as view:
            deleted = rebuild(view, fresh, how.making, chosen)
        if how.carry is not None:
            with copying(how.thing):
                how.carry(how.live, fresh)
        refuse_in_use(how.live, how.thing)
        if state_of(how.live) != before:
            raise RefusedError(
                how.thing, "it was written to meanwhile", "stop the program that uses it"
            )
        for new, old in how.pairs(fresh) if how.pairs else [(fresh, how.live)]:
            put_in_place(new, old)
    finally:
        discard(fresh)
    steps = ("made anew of the points that stay", "verified", "put in the place of the old files")
    return Erased(deleted, steps)


def rebuild(view: RecordsView, fresh: Path, making: Making, chosen: Going) -> dict[str, int]:
    """Make a store at a new place of all points but those that are to go, and verify it.

    Args:
        view: the store as it was copied.
        making: opens a fresh store at an address.

    Returns:
        Collection -> number of points left out, of collections that had any.

    Raises:
        IntegrityError: when the new store does not hold what it should; it is removed.
    """
    sets = view.record_sets()
    require({records.name: records for records in sets}, chosen)
    left_out: dict[str, int] = {}
    with making(str(fresh)) as target:
        for records in sets:
            kept = _Kept(view, records, chosen)
            name = target.create(records)
            target.add(name, kept.points())
            target.finish(name)
            if kept.gone:
                left_out[records.name] = kept.gone
            _verify(target, name, kept)
        _verify_settings(target, sets)
    return left_out


class _Kept:
    """The points of a collection that stay, and their sum."""

    def __init__(self, view: RecordsView, records: RecordSet, chosen: Going) -> None:
        self.view, self.records, self.chosen = view, records, chosen
        self.gone, self.count, self.sum = 0, 0, 0

    def points(self) -> Iterator[Point]:
        for point in self.view.points(self.records.name):
            if self.chosen.of(self.records, point):
                self.gone += 1
                continue
            self.count += 1
            self.sum += _digest(point, self.records)
            yield point


def _digest(point: Point, records: RecordSet) -> int:
    # a sum does not depend on the order, which may be another in the new store
    digest = encode_point(point, records, "").digest(with_vectors=records.exact)
    return int.from_bytes(digest, "big")


def _verify(target: RecordsView, name: str, kept: _Kept) -> None:
    count, total = 0, 0
    for point in target.points(name):
        count += 1
        total += _digest(point, kept.records)
    if (count, total) != (kept.count, kept.sum):
        raise IntegrityError(
            f"collection {kept.records.name}",
            f"made anew it holds {count} points, not the {kept.count} that stay, or other content",
            "nothing was changed; look at the store's version",
        )


def _verify_settings(target: RecordsView, sets: Sequence[RecordSet]) -> None:
    made = {records.name: records for records in target.record_sets()}
    for records in sets:
        found = made.get(records.name)
        if found is None or _stated(found) != _stated(records):
            raise IntegrityError(
                f"collection {records.name}",
                "made anew its settings are not what they were",
                "nothing was changed; look at the store's version",
            )


def _stated(records: RecordSet) -> tuple[object, ...]:
    # what a store derives from points and host is not stated, and may change with them
    stated = {key: one for key, one in records.native.items() if not key.endswith("_found")}
    return records.vectors, stated


def fresh_place(live: Path) -> Path:
    """Return where a directory is made anew: beside it, so that it can be put in its place.

    What a run left that was killed is put right first.
    """
    mend(live)
    return live.with_name(_FRESH + live.name)


def mend(live: Path) -> None:
    """Undo what a run left that was killed, or finish it, where only tidying was missing."""
    before, fresh = live.with_name(_BEFORE + live.name), live.with_name(_FRESH + live.name)
    if before.exists() and not live.exists():
        before.rename(live)
    for left in (before, fresh):
        if left.exists():
            remove_tree(left)


def put_in_place(fresh: Path, live: Path) -> None:
    """Put a new directory in the place of the live one, whose files are deleted."""
    thing = f"directory {live}"
    with copying(thing):
        seen = live.stat()
        if os.geteuid() == 0:
            for path in (fresh, *fresh.rglob("*")):
                os.chown(path, seen.st_uid, seen.st_gid, follow_symlinks=False)
        fresh.chmod(seen.st_mode & 0o7777)
        before = live.with_name(_BEFORE + live.name)
        live.rename(before)
        fresh.rename(live)
        sync_directory(live.parent)
        remove_tree(before)


def discard(fresh: Path) -> None:
    """Remove a directory that is not put in place."""
    shutil.rmtree(fresh, ignore_errors=True)


def refuse_in_use(root: Path, thing: str) -> None:
    """Raise when another process has a file below a directory open, as far as can be seen.

    Raises:
        RefusedError: when one has; its writes would be lost, or bring back what was deleted.
    """
    place = str(root.resolve())
    for process in _processes():
        for link in _open_files(process):
            if link == place or link.startswith(f"{place}/"):
                raise RefusedError(
                    thing,
                    f"process {process.name} has it open",
                    "stop the program that uses it, then try again",
                )


def _processes() -> Iterator[Path]:
    own = str(os.getpid())
    return (one for one in Path("/proc").glob("[0-9]*") if one.name != own)


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):  # another user's, or gone
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())
