"""Looking at everything a backup and a drill need, before one is due."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.files import private_directory
from llmvault.core.process import Command, Runner
from llmvault.core.units import format_size, format_time
from llmvault.core.verdict import Verdict
from llmvault.doctor.model import Diagnosis
from llmvault.drill.engines.interface import Engine
from llmvault.drill.hosts.interface import ScratchHost
from llmvault.drill.plan import in_the_future
from llmvault.recovery_points.find import stored_points
from llmvault.restic.repo import Repository, restic_version
from llmvault.sources.interface import Source

_LITTLE_SPACE = 1 << 30


@dataclass(frozen=True, slots=True)
class DoctorPorts:
    """What the doctor looks at.

    Attributes:
        repositories: name -> how to get it; getting it may fail on a secret.
        more: what other parts of the installation have to say.
    """

    clock: Clock
    runner: Runner
    restic: str
    state: Path
    repositories: Mapping[str, Callable[[], Repository]]
    sources: Mapping[str, Source]
    engines: Mapping[str, Engine]
    host: ScratchHost
    more: tuple[Callable[[], Iterable[Diagnosis]], ...] = ()


def run_doctor(ports: DoctorPorts) -> Iterator[Diagnosis]:
    """Yield one diagnosis after the other, as they are made."""
    yield _restic(ports)
    yield _state(ports)
    yield _clock(ports)
    for name, get in ports.repositories.items():
        yield _repository(ports, name, get)
    for source in ports.sources.values():
        yield _source(source)
    yield _scratch(ports)
    for engine in ports.engines.values():
        yield _engine(engine)
    for look in ports.more:
        try:
            yield from look()
        except VaultError as error:
            yield _from_error(error.thing, error)


def _from_error(subject: str, error: VaultError) -> Diagnosis:
    reached = not isinstance(error, UnavailableError)
    verdict = Verdict.FAILED if reached else Verdict.UNPROVEN
    return Diagnosis(subject, verdict, f"{error.thing}: {error.cause}", error.next_step)


def _restic(ports: DoctorPorts) -> Diagnosis:
    try:
        version = ".".join(map(str, restic_version(ports.runner, ports.restic)))
    except VaultError as error:
        return _from_error("restic", error)
    return Diagnosis("restic", Verdict.PROVEN, f"version {version}")


def _state(ports: DoctorPorts) -> Diagnosis:
    subject = "state directory"
    try:
        private_directory(ports.state)
    except OSError as error:
        return Diagnosis(
            subject, Verdict.FAILED, f"{ports.state}: {error.strerror}", "set LLMVAULT_STATE"
        )
    mode = ports.state.stat().st_mode & 0o077
    if mode or not os.access(ports.state, os.W_OK):
        return Diagnosis(
            subject,
            Verdict.FAILED,
            f"{ports.state} can be read by others or not written by us",
            f"chmod 700 {ports.state}",
        )
    return Diagnosis(subject, Verdict.PROVEN, f"{ports.state} is private and writable")


def _clock(ports: DoctorPorts) -> Diagnosis:
    shown = format_time(ports.clock.now())
    try:
        done = ports.runner.run(
            Command(("timedatectl", "show", "--property=NTPSynchronized", "--value")), timeout=10
        )
    except UnavailableError:
        said = ""
    else:
        said = done.stdout.strip()
    if said == "yes":
        return Diagnosis("clock", Verdict.PROVEN, f"{shown}, synchronised")
    if said == "no":
        step = "start a time service: systemctl enable --now systemd-timesyncd"
        return Diagnosis("clock", Verdict.FAILED, f"{shown}, not synchronised", step)
    return Diagnosis(
        "clock",
        Verdict.UNPROVEN,
        f"{shown}; nothing here tells whether it is synchronised",
        "make sure that the host or its hypervisor keeps time (chrony, systemd-timesyncd)",
    )


def _repository(ports: DoctorPorts, name: str, get: Callable[[], Repository]) -> Diagnosis:
    subject = f'repository "{name}"'
    try:
        repository = get()
        identity = repository.config_id()
        points = stored_points(repository)
    except VaultError as error:
        return _from_error(subject, error)
    newest = max((snapshot.time for snapshot in points.values()), default=None)
    if newest and in_the_future(newest, ports.clock.now()):
        return Diagnosis(
            subject,
            Verdict.FAILED,
            f"its newest recovery point is of {format_time(newest)}, in the future",
            "correct this host's clock, or that of the host which wrote it",
        )
    return Diagnosis(
        subject,
        Verdict.PROVEN,
        f"opens with its password, id {identity[:8]}, {len(points)} recovery points",
    )


def _source(source: Source) -> Diagnosis:
    subject = f'source "{source.name}"'
    try:
        observation = source.observe()
    except VaultError as error:
        return _from_error(subject, error)
    bad = [finding for finding in observation.findings if finding.severity != "warning"]
    if bad:
        return Diagnosis(subject, Verdict(bad[0].severity), bad[0].detail, "repair the source")
    warnings = "; ".join(finding.detail for finding in observation.findings)
    return Diagnosis(subject, Verdict.PROVEN, warnings or f"readable at {source.location()}")


def _scratch(ports: DoctorPorts) -> Diagnosis:
    subject = f'scratch host "{ports.host.name}"'
    try:
        free = ports.host.free_bytes()
    except VaultError as error:
        return _from_error(subject, error)
    if free < _LITTLE_SPACE:
        step = "free space or set LLMVAULT_SCRATCH"
        return Diagnosis(subject, Verdict.FAILED, f"only {format_size(free)} are free", step)
    return Diagnosis(subject, Verdict.PROVEN, f"{format_size(free)} are free")


def _engine(engine: Engine) -> Diagnosis:
    subject = f'engine "{engine.name}"'
    reason = engine.available()
    if reason:
        return Diagnosis(subject, Verdict.UNPROVEN, reason, "install it, or drill on another host")
    return Diagnosis(subject, Verdict.PROVEN, f"{engine.kind} can be started")
