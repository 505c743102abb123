"""Receiving a chain of streams into a dataset that does not exist yet; scratch pools for drills."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, VaultError
from llmvault.core.files import private_directory
from llmvault.core.process import Runner
from llmvault.core.units import format_size
from llmvault.sources.interface import CollectionFacts
from llmvault.sources.zfs_stream.commands import (
    attempt,
    failure,
    feed,
    says_absent,
    succeed,
)
from llmvault.sources.zfs_stream.datasets import Snapshot, guid_of, read_snapshots
from llmvault.sources.zfs_stream.streams import StreamFile

# a received dataset must not mount over the live one, nor be shared, when it is mounted later
_LEFT_OUT = ("-x", "mountpoint", "-x", "sharenfs", "-x", "sharesmb")
_POOL_PREFIX = "llmvault-drill-"
_SPARE = 1 << 30
_ALIGNED = 1 << 20


def refuse_occupied(runner: Runner, target: str, live: str) -> None:
    """Raise unless a target can be received into without touching anything.

    Raises:
        RefusedError: when it exists, or is part of the live dataset.
        UnavailableError: when the dataset above it does not exist.
    """
    thing = f"target zfs:{target}"
    if target == live or target.startswith(f"{live}/"):
        raise RefusedError(thing, f"it belongs to the live dataset {live}", "name another")
    if guid_of(runner, target):
        raise RefusedError(thing, "it exists, and nothing is ever overwritten", "name a new one")
    above = target.rpartition("/")[0]
    if not above:
        raise RefusedError(thing, "it is a pool, not a dataset", "name a dataset in it: POOL/NAME")
    if not guid_of(runner, above):
        raise UnavailableError(
            thing, f"{above} does not exist", f"import its pool, or: zfs create -p {above}"
        )


def receive_chain(
    runner: Runner, chain: Sequence[tuple[Path, StreamFile]], target: str
) -> tuple[Snapshot, ...]:
    """Receive streams, unmounted; return the snapshots of the last one as they arrived.

    What was received is destroyed again when one of them fails: the dataset was made here.

    Raises:
        IntegrityError: when ZFS refuses a stream, or what arrived has other guids.
        UnavailableError: when ZFS does not answer.
    """
    made = False
    try:
        for file, stream in chain:
            done = feed(runner, file, "zfs", "receive", "-u", *_LEFT_OUT, target)
            if done.exit_code != 0:
                raise _refused(file, target, done.exit_code, done.stderr)
            made = True
            _compare(runner, target, stream)
        name = _snapshot_name(runner, target, chain[-1][1].guid)
        return read_snapshots(runner, target, name, recursive=True)
    except BaseException:
        if made:
            attempt(runner, "zfs", "destroy", "-r", target)
        raise


def _refused(file: Path, target: str, code: int, said: str) -> VaultError:
    error = failure(f"target zfs:{target}", ("zfs", "receive"), code, said.splitlines())
    words = said.lower()
    if any(word in words for word in ("invalid", "checksum", "incomplete", "corrupt", "bad ")):
        return IntegrityError(f"stream {file}", error.cause, "restore the source again")
    return error


def _compare(runner: Runner, target: str, stream: StreamFile) -> None:
    if not _snapshot_name(runner, target, stream.guid):
        raise IntegrityError(
            f"target zfs:{target}", f"no snapshot with guid {stream.guid} arrived", "see: zfs list"
        )


def _snapshot_name(runner: Runner, dataset: str, guid: str) -> str:
    printed = succeed(
        runner, f"dataset {dataset}", "zfs", "list", "-Hp", "-t", "snapshot", "-o", "name,guid",
        dataset,
    )  # fmt: skip
    rows = (line.split("\t") for line in printed.splitlines() if line)
    return next((name.partition("@")[2] for name, found in rows if found == guid), "")


def facts_of(root: str, snapshots: Sequence[Snapshot]) -> tuple[CollectionFacts, ...]:
    """Return what is compared of datasets: which there are, and the guids of their snapshots."""
    return tuple(
        CollectionFacts(
            name=one.dataset.removeprefix(root).lstrip("/") or ".",
            count=1,
            sample_digests={"snapshot guid": one.guid},
        )
        for one in sorted(snapshots, key=lambda one: one.dataset)
    )


@contextmanager
def scratch_pool(
    runner: Runner, scratch: Path, token: str, bytes_needed: int, journals: Path | None
) -> Iterator[str]:
    """Make a pool on a sparse file below `scratch`; destroy it when the context is left.

    Pools that drills left which were killed are destroyed first: the kernel drops the lock of a
    dead process.

    Args:
        journals: directory of the locks; None for none.

    Raises:
        UnavailableError: when no pool can be made here.
    """
    if journals is not None:
        private_directory(journals)
        _destroy_dead(runner, journals)
    _demand_space(scratch, bytes_needed)
    pool = f"{_POOL_PREFIX}{token}"
    device = scratch / f"{pool}.vdev"
    with device.open("wb") as file:
        file.truncate((2 * bytes_needed + _SPARE) // _ALIGNED * _ALIGNED)
    journal = journals / f"{pool}.pool" if journals is not None else None
    with _locked(journal):
        try:
            succeed(
                runner, f"pool {pool}", "zpool", "create", "-f", "-o", "cachefile=none",
                "-o", "failmode=continue",
                "-O", "canmount=off", "-O", "mountpoint=none", pool, str(device),
            )  # fmt: skip
        except BaseException:
            _forget(device, journal)
            raise
        try:
            yield pool
        finally:
            _destroy_pool(runner, pool)
            _forget(device, journal)


def _demand_space(scratch: Path, bytes_needed: int) -> None:
    """Raise unless what is received fits: a pool whose file cannot grow hangs those who use it."""
    wanted = bytes_needed * 5 // 4 + _SPARE // 4
    free = shutil.disk_usage(scratch).free
    if free < wanted:
        raise UnavailableError(
            f"scratch directory {scratch}",
            f"a pool to receive into needs {format_size(wanted)}, {format_size(free)} are free",
            "free space or set LLMVAULT_SCRATCH",
        )


def _forget(device: Path, journal: Path | None) -> None:
    device.unlink(missing_ok=True)
    if journal is not None:
        journal.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    """Hold a lock file; it stays when what it speaks of could not be removed."""
    if path is None:
        yield
        return
    with open(path, "a", opener=_private) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _destroy_dead(runner: Runner, journals: Path) -> None:
    for path in sorted(journals.glob(f"{_POOL_PREFIX}*.pool")):
        with suppress(BlockingIOError, FileNotFoundError), path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _destroy_pool(runner, path.stem)
            path.unlink(missing_ok=True)


def _destroy_pool(runner: Runner, pool: str) -> None:
    """Destroy a pool of ours; one that is not there is no error."""
    done = attempt(runner, "zpool", "destroy", "-f", pool)
    if done.exit_code != 0 and not says_absent(done.stderr) and "/dev/zfs" not in done.stderr:
        raise failure(f"pool {pool}", done.argv, done.exit_code, done.stderr.splitlines())
