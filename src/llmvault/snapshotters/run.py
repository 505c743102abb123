"""The snapshots of one run: taken together, held, destroyed; what dead runs left is swept."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.core.errors import UnavailableError, VaultError
from llmvault.snapshotters.interface import (
    PREFIX,
    Making,
    Part,
    Snapshotter,
    SnapshotterPorts,
    Taken,
    Volume,
)
from llmvault.snapshotters.journal import Journal, dead_journals, new_journal
from llmvault.snapshotters.model import AUTO, Held, Seen, Wish
from llmvault.snapshotters.mounts import Mount, mount_of, mounts_below
from llmvault.snapshotters.registry import NONE, build_snapshotter, find_snapshotter
from llmvault.snapshotters.view import hide, show


def _unrecorded(kind: str, facts: Mapping[str, Any]) -> None:
    """Record nothing."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Takes the snapshots of runs.

    Attributes:
        directory: where journals and mount points are kept.
        record: told before and after what a dead run left is destroyed, for the ledger; raises
            VaultError when it could not be recorded.
    """

    directory: Path
    ports: SnapshotterPorts
    record: Callable[[str, Mapping[str, Any]], object] = _unrecorded

    @contextmanager
    def holding(self, run: str, wishes: Sequence[Wish]) -> Iterator[Held]:
        """Hold a snapshot of all that is wished for, taken together, until the context is left.

        A wish that cannot be fulfilled is told in what is yielded; the others are.
        """
        problems = self.sweep()
        if not wishes:
            yield Held({}, problems)
            return
        with new_journal(self.directory.resolve(), run) as journal, ExitStack() as opened:
            try:
                taking = _Taking(self.ports, journal, f"{PREFIX}{run}", opened)
                yield Held(taking.fulfil(wishes), problems)
            finally:
                opened.close()
                problems.extend(_end(self.ports, journal, were_read=True))

    def sweep(self) -> list[str]:
        """Destroy what runs left that died; return what could not be destroyed, in sentences."""
        problems: list[str] = []
        with dead_journals(self.directory.resolve()) as journals:
            for journal in journals:
                left = {"run": journal.run, "snapshots": [name for _, name in journal.intended()]}
                try:
                    self.record("snapshots.sweep.started", left)
                    found = _end(self.ports, journal, were_read=False)
                    self.record("snapshots.sweep.ended", {"run": journal.run, "problems": found})
                except VaultError as error:
                    found = [f"not swept: {error.thing}: {error.cause}"]
                problems.extend(found)
        return problems


def _end(ports: SnapshotterPorts, journal: Journal, *, were_read: bool) -> list[str]:
    """Destroy a run's snapshots, newest first; the journal stays if one of them does."""
    problems: list[str] = []
    left = False
    try:
        hide(journal.place, ports)
    except VaultError as error:
        return [f"left behind, the next run tries again: {error.thing}: {error.cause}"]
    for kind, handle in reversed(journal.intended()):
        try:
            snapshotter = build_snapshotter(kind, ports)
            if were_read:
                problems.extend(_spoiled(snapshotter, handle))
            snapshotter.destroy(handle)
        except VaultError as error:
            left = True
            problems.append(f"left behind, the next run tries again: {error.thing}: {error.cause}")
    if not left:
        journal.finish()
    return problems


def _spoiled(snapshotter: Snapshotter, handle: str) -> Iterator[str]:
    try:
        why = snapshotter.spoiled(handle)
    except VaultError as error:
        why = f"{error.thing}: {error.cause}"
    if why:
        yield why


@dataclass(slots=True)
class _Taking:
    """One run that takes snapshots."""

    ports: SnapshotterPorts
    journal: Journal
    name: str
    opened: ExitStack
    seen: dict[str, Seen] = field(default_factory=dict)

    def fulfil(self, wishes: Sequence[Wish]) -> Mapping[str, Seen]:
        """Return source name -> how it is to be read."""
        mounts = self.ports.mounts()
        chosen: dict[str, list[tuple[Wish, Path, Volume]]] = defaultdict(list)
        snapshotters: dict[str, Snapshotter] = {}
        for wish in wishes:
            try:
                root = Path(os.path.realpath(wish.path, strict=True))
            except OSError:
                continue  # the source itself will tell
            mount = mount_of(root, mounts)
            try:
                snapshotter = self._choose(wish, mount)
                if snapshotter.kind == NONE:
                    reason = f"{mount.point} is {mount.kind}: read where it lies"
                    self.seen[wish.source] = Seen(reason=reason)
                    continue
                volume = Volume(snapshotter.top(root, mount), mount, (root,))
            except VaultError as error:
                self.seen[wish.source] = Seen(error=error)
                continue
            snapshotters[snapshotter.kind] = snapshotter
            chosen[snapshotter.kind].append((wish, root, volume))
        for kind, found in chosen.items():
            self._take(snapshotters[kind], found, mounts)
        return self.seen

    def _choose(self, wish: Wish, mount: Mount) -> Snapshotter:
        if wish.snapshotter == AUTO:
            return find_snapshotter(mount, self.ports)
        snapshotter = build_snapshotter(wish.snapshotter, self.ports)
        why = snapshotter.claims(mount)
        if why:
            raise UnavailableError(
                f'source "{wish.source}"',
                f"no {wish.snapshotter} snapshot can be taken: {why}",
                "correct `snapshot:` in the policy: auto, or none",
            )
        return snapshotter

    def _take(
        self,
        snapshotter: Snapshotter,
        found: Sequence[tuple[Wish, Path, Volume]],
        mounts: Sequence[Mount],
    ) -> None:
        kind = snapshotter.kind
        making = Making(
            self.name, self.journal.place, lambda handle: self.journal.intend(kind, handle)
        )
        try:
            taken = snapshotter.take(_together([volume for _, _, volume in found]), making)
            for part in taken.parts:
                self._open(part)
        except VaultError as error:
            self.seen |= {wish.source: Seen(error=error) for wish, _, _ in found}
            return
        for wish, root, _ in found:
            try:
                self.seen[wish.source] = self._show(kind, root, taken, mounts)
            except VaultError as error:
                self.seen[wish.source] = Seen(error=error)

    def _open(self, part: Part) -> None:
        """Look at a snapshot once and keep it open until it is no longer needed.

        ZFS mounts a snapshot when it is first looked at. When several threads do so at the same
        time, as restic's would, OpenZFS up to 2.3 may hang the kernel (openzfs/zfs issue 16685);
        and one that nobody has open is unmounted after a while.
        """
        try:
            descriptor = os.open(part.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UnavailableError(
                f"snapshot of {part.top}",
                f"it is not seen at {part.path}: {error.strerror}",
                "look at the filesystem (zfs get snapdir), or set `snapshot: none`",
            ) from error
        self.opened.callback(os.close, descriptor)

    def _show(self, kind: str, root: Path, taken: Taken, mounts: Sequence[Mount]) -> Seen:
        view = self.journal.place / f"view-{len(self.seen)}"
        place = show(root, taken.parts, self.ports.runner, view)
        relevant = [
            part
            for part in taken.parts
            if part.top.is_relative_to(root) or root.is_relative_to(part.top)
        ]
        missing = {
            top: why for top, why in taken.missing.items() if top.is_relative_to(root)
        } | _foreign(root, mounts, taken, self.journal.path.parent)
        return Seen(
            place=place,
            snapshotter=kind,
            facts={"snapshotter": kind, "parts": [dict(part.facts) for part in relevant]},
            missing=tuple(f"{top}: {why}" for top, why in sorted(missing.items())),
        )


def _together(volumes: Sequence[Volume]) -> tuple[Volume, ...]:
    """Return one volume for each top, with all roots in it."""
    tops: dict[Path, Volume] = {}
    for volume in volumes:
        known = tops.get(volume.top)
        roots = (*known.roots, *volume.roots) if known else volume.roots
        tops[volume.top] = Volume(volume.top, volume.mount, tuple(dict.fromkeys(roots)))
    return tuple(tops.values())


def _foreign(root: Path, mounts: Sequence[Mount], taken: Taken, own: Path) -> dict[Path, str]:
    """Return what is mounted below a root and is in no snapshot."""
    held = {part.top for part in taken.parts}
    return {
        mount.point: f"{mount.kind} is mounted there, and no snapshot holds it"
        for mount in mounts_below(root, mounts)
        if mount.point not in held
        and ".zfs" not in mount.point.parts
        and not mount.point.is_relative_to(own)
    }
