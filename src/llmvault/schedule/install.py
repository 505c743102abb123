"""Writing the file that keeps the scheduler of this installation running."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from llmvault.app import App
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import private_directory, write_durably
from llmvault.policy.notify import FileTarget
from llmvault.schedule.units import (
    BACKUP_SERVICE,
    BACKUP_SOCKET,
    MADE_BY,
    Service,
    backup_socket,
    backup_unit,
    crontab,
    systemd_unit,
)
from llmvault.snapshotters.mounts import mount_of, read_mounts

_CONFIGURATION = Path("/etc/llmvault")
SYSTEMD = Path("/etc/systemd/system")
CRON = Path("/etc/cron.d")


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """What is asked for.

    Attributes:
        cron: a crontab instead of a systemd unit.
        directory: where the file is put.
        user: whom it runs as.
        gpu: whether drills use a GPU.
        finish_within: how long runs may go on when the service is stopped.
    """

    cron: bool
    directory: Path
    user: str
    gpu: bool
    finish_within: timedelta


def install(app: App, request: InstallRequest) -> tuple[Path, ...]:
    """Write the files and return them, what is started first; the state directory is made.

    Units of before that are needed no longer are removed.

    Raises:
        RefusedError: when a file of such a name is there that this did not write.
        UnavailableError: when one cannot be written.
    """
    service = service_of(app, request)
    log = app.settings.state / "logs" / "schedule.log"
    texts = {"llmvault": crontab(service, log)} if request.cron else _units(service)
    files = {request.directory / name: text for name, text in texts.items()}
    for file in files:
        _refuse_to_overwrite(file)
    try:
        private_directory(log.parent if request.cron else app.settings.state)
        for file, text in reversed(files.items()):
            write_durably(file, text.encode(), mode=0o644)
    except OSError as error:
        raise UnavailableError(
            str(error.filename or request.directory),
            f"cannot be written: {error.strerror}",
            "be root, or name another --directory",
        ) from error
    if not request.cron:
        units = {BACKUP_SOCKET, BACKUP_SERVICE}
        _remove_ours(request.directory / name for name in units - texts.keys())
    return tuple(files)


def _units(service: Service) -> dict[str, str]:
    units = {"llmvault.service": systemd_unit(service)}
    if service.snapshots:
        units |= {BACKUP_SOCKET: backup_socket(service), BACKUP_SERVICE: backup_unit(service)}
    return units


def _remove_ours(files: Iterable[Path]) -> None:
    for file in files:
        if file.exists() and _is_ours(file):
            file.unlink()


def _is_ours(file: Path) -> bool:
    return file.read_text(errors="replace").startswith(MADE_BY)


def _refuse_to_overwrite(file: Path) -> None:
    if file.exists() and not _is_ours(file):
        raise RefusedError(
            str(file), "is there and was not made by llmvault", "move it away, or use --directory"
        )


def service_of(app: App, request: InstallRequest) -> Service:
    """Return this installation's scheduler as a service."""
    settings = app.settings
    local = [one.local_path for one in app.policy.repositories.values() if one.local_path]
    told = [one.path.parent for one in app.policy.notify.values() if isinstance(one, FileTarget)]
    items = (*app.policy.plans.values(), *app.policy.sources.values())
    asked = {getattr(item, "snapshot", None) for item in items}
    snapshots = bool(asked - {None, "none"}) or _takes_streams(app)
    return Service(
        program=(sys.executable, "-m", "llmvault"),
        environment={
            "PATH": settings.environment.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "LLMVAULT_POLICIES": str(settings.policies),
            "LLMVAULT_STATE": str(settings.state),
            "LLMVAULT_SCRATCH": str(settings.scratch),
            "LLMVAULT_RESTIC": shutil.which(settings.restic) or settings.restic,
            "LLMVAULT_HOST": settings.host,
        },
        environment_file=_CONFIGURATION / "environment",
        credentials={
            name: _CONFIGURATION / "credentials" / name for name in set(_credentials(app))
        },
        writable=tuple(dict.fromkeys((settings.state, settings.scratch.parent, *local, *told))),
        snapshots=snapshots,
        snapshot_places=tuple(_btrfs_below(app)) if snapshots else (),
        gpu=request.gpu,
        user=request.user,
        finish_within=request.finish_within,
    )


def _btrfs_below(app: App) -> Iterator[Path]:
    """Yield where sources' btrfs filesystems are mounted: snapshots are directories there."""
    mounts = read_mounts()
    paths = (getattr(source, "path", None) for source in app.policy.sources.values())
    holding = (mount_of(path.resolve(), mounts) for path in paths if path is not None)
    yield from dict.fromkeys(mount.point for mount in holding if mount.kind == "btrfs")


def _takes_streams(app: App) -> bool:
    """Whether a source takes snapshots of its own, for which a backup needs the same rights."""
    return any(source.kind == "zfs_stream" for source in app.policy.sources.values())


def _credentials(app: App) -> Iterator[str]:
    """Yield the names of the policy's ``credential:`` references."""
    waiting: list[Any] = [app.loaded.values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, str) and value.startswith("credential:"):
            yield value.partition(":")[2]
