"""Snapshots of nested volumes put together, so that a source is whole below one directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.process import Runner
from llmvault.snapshotters.commands import attempt, failure, succeed
from llmvault.snapshotters.interface import Part, SnapshotterPorts
from llmvault.snapshotters.mounts import Mount

_TRIES = 20
_PAUSE = 0.25


def part_of(root: Path, parts: Iterable[Part]) -> Part:
    """Return the innermost part that holds a directory.

    Raises:
        UnavailableError: when none does.
    """
    holding = [part for part in parts if root.is_relative_to(part.top)]
    if not holding:
        raise UnavailableError(f"snapshot of {root}", "no snapshot holds it")
    return max(holding, key=lambda part: len(part.top.parts))


def parts_below(root: Path, parts: Iterable[Part]) -> list[Part]:
    """Return the parts nested below a directory, outer ones first."""
    inner = [part for part in parts if part.top != root and part.top.is_relative_to(root)]
    return sorted(inner, key=lambda part: len(part.top.parts))


def show(root: Path, parts: Sequence[Part], runner: Runner, view: Path) -> Path:
    """Return a directory that shows what a live one held; `view` is made only if it is needed.

    Raises:
        UnavailableError: when nested snapshots cannot be put together.
    """
    part = part_of(root, parts)
    shown = part.path / root.relative_to(part.top)
    inner = parts_below(root, parts)
    if not inner:
        return shown
    view.mkdir(mode=0o700)
    thing = f"snapshot of {root}"
    succeed(runner, thing, "mount", "--bind", os.fspath(shown), os.fspath(view))
    for nested in inner:
        point = view / nested.top.relative_to(root)
        succeed(runner, thing, "mount", "--bind", os.fspath(nested.path), os.fspath(point))
    return view


def hide(place: Path, ports: SnapshotterPorts) -> None:
    """Unmount all that is mounted below a run's private directory, the last first.

    Raises:
        VaultError: when something is still in use after a while.
    """
    for mount in reversed(_below(place, ports.mounts())):
        _unmount(mount.point, ports.runner, ports.clock)


def _below(place: Path, mounts: Iterable[Mount]) -> list[Mount]:
    return [mount for mount in mounts if mount.point != place and _is_below(mount.point, place)]


def _is_below(point: Path, place: Path) -> bool:
    return point.is_relative_to(place)


def _unmount(point: Path, runner: Runner, clock: Clock) -> None:
    problem: VaultError | None = None
    for _ in range(_TRIES):
        done = attempt(runner, "umount", os.fspath(point))
        if done.exit_code == 0:
            return
        problem = failure(f"mount {point}", done)
        if "busy" not in done.stderr:
            break
        clock.sleep(_PAUSE)
    if problem is not None:
        raise problem
