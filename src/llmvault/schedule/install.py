"""Writing the file that keeps the scheduler of this installation running."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from llmvault.app import App
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import private_directory, write_durably
from llmvault.schedule.units import MADE_BY, Service, crontab, systemd_unit

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


def install(app: App, request: InstallRequest) -> Path:
    """Write the file and return it; the state directory is made if there is none.

    Raises:
        RefusedError: when a file of that name is there that this did not write.
        UnavailableError: when it cannot be written.
    """
    service = service_of(app, request)
    file = request.directory / ("llmvault" if request.cron else "llmvault.service")
    log = app.settings.state / "logs" / "schedule.log"
    text = crontab(service, log) if request.cron else systemd_unit(service)
    _refuse_to_overwrite(file)
    try:
        private_directory(log.parent if request.cron else app.settings.state)
        write_durably(file, text.encode(), mode=0o644)
    except OSError as error:
        raise UnavailableError(
            str(file),
            f"cannot be written: {error.strerror}",
            "be root, or name another --directory",
        ) from error
    return file


def _refuse_to_overwrite(file: Path) -> None:
    if file.exists() and not file.read_text(errors="replace").startswith(MADE_BY):
        raise RefusedError(
            str(file), "is there and was not made by llmvault", "move it away, or use --directory"
        )


def service_of(app: App, request: InstallRequest) -> Service:
    """Return this installation's scheduler as a service."""
    settings = app.settings
    local = [one.local_path for one in app.policy.repositories.values() if one.local_path]
    items = (*app.policy.plans.values(), *app.policy.sources.values())
    asked = {getattr(item, "snapshot", None) for item in items}
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
        writable=tuple(dict.fromkeys((settings.state, settings.scratch.parent, *local))),
        snapshots=bool(asked - {None, "none"}),
        gpu=request.gpu,
        user=request.user,
        finish_within=request.finish_within,
    )


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
