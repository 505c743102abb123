"""The files that make another program keep the scheduler running: systemd's, or cron's. Pure.

systemd: systemd.service(5), systemd.exec(5), systemd.kill(5). cron: crontab(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

MADE_BY = "# Made by: llmvault schedule install"
_STOP_MARGIN = timedelta(seconds=30)  # what is told to stop after finish_within gets ten of these

# What a backup and a drill need as root: read everything, give restored files their owners back,
# start databases under their own accounts, and stop them.
_CAPABILITIES = ("DAC_READ_SEARCH", "DAC_OVERRIDE", "CHOWN", "FOWNER", "SETUID", "SETGID", "KILL")
_GPU_DEVICES = ("char-nvidia-frontend", "char-nvidia-uvm", "char-nvidiactl", "char-kfd", "char-drm")

_CONFINED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
RemoveIPC=yes
UMask=0077
"""


@dataclass(frozen=True, slots=True)
class Service:
    """The scheduler as a service.

    Attributes:
        program: argv of llmvault, absolute.
        environment: what it is to see; no secret.
        environment_file: variables with secrets, such as a database's URL; may be absent.
        credentials: name -> file, as the policy's ``credential:`` references name them.
        writable: directories that it writes to.
        snapshots: whether it takes filesystem snapshots, which needs CAP_SYS_ADMIN and mounts.
        gpu: whether drills use a GPU of this host.
        finish_within: how long runs may go on when it is told to stop.
    """

    program: tuple[str, ...]
    environment: Mapping[str, str]
    environment_file: Path
    credentials: Mapping[str, Path]
    writable: tuple[Path, ...]
    snapshots: bool
    gpu: bool
    user: str
    finish_within: timedelta


def systemd_unit(service: Service) -> str:
    """Return the unit ``llmvault.service``."""
    seconds = int(service.finish_within.total_seconds())
    run = [*service.program, "schedule", "run", "--finish-within", f"{seconds}s"]
    stop = int((service.finish_within + _STOP_MARGIN).total_seconds())
    lines = [
        MADE_BY,
        "[Unit]",
        "Description=llmvault: backups, drills and what else the policy declares, by the clock",
        "After=network-online.target time-sync.target",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_escaped(word) for word in run)}",
        "ExecReload=kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartSec=10s",
        "# a wrong policy, or a rule that says no, is not better the next time",
        "RestartPreventExitStatus=2 4",
        "# only the scheduler is told to stop: it finishes runs or stops them itself",
        "KillMode=mixed",
        f"TimeoutStopSec={stop}s",
        *(f"Environment={_escaped(f'{name}={value}')}" for name, value in _sorted(service)),
        f"EnvironmentFile=-{service.environment_file}",
        *(f"LoadCredential={name}:{file}" for name, file in sorted(service.credentials.items())),
        f"User={service.user}",
        "Nice=10",
        "IOSchedulingClass=idle",
        "OOMPolicy=continue",
        "",
        *_confinement(service),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def crontab(service: Service, log: Path) -> str:
    """Return a file for ``/etc/cron.d``: the scheduler is started at boot, and when it has ended.

    While it runs, a second one ends at once.
    """
    run = shlex.join([*service.program, "schedule", "run"]).replace("%", "\\%")
    command = f"{run} >>{shlex.quote(str(log))} 2>&1"
    variables = [f"{name}={shlex.quote(value)}" for name, value in _sorted(service)]
    return "\n".join(
        [
            MADE_BY,
            "SHELL=/bin/sh",
            *variables,
            f"@reboot {service.user} {command}",
            f"*/5 * * * * {service.user} {command}",
            "",
        ]
    )


def _confinement(service: Service) -> list[str]:
    lines = _CONFINED.splitlines()
    writable = " ".join(_escaped(f"-{path}") for path in service.writable)
    lines.append(f"ReadWritePaths={writable}")
    extra = ("SYS_ADMIN",) if service.snapshots else ()
    capabilities = " ".join(f"CAP_{name}" for name in (*_CAPABILITIES, *extra))
    lines.append(f"CapabilityBoundingSet={capabilities}")
    if service.user != "root":
        lines.append("AmbientCapabilities=CAP_DAC_READ_SEARCH")
    lines += _system_calls(service)
    if service.gpu:
        lines.append("DevicePolicy=closed")
        lines += [f"DeviceAllow={device} rw" for device in _GPU_DEVICES]
    elif service.snapshots:
        lines.append("PrivateDevices=no")
    else:
        lines.append("PrivateDevices=yes")
    return lines


def _system_calls(service: Service) -> list[str]:
    if service.snapshots:
        return [
            "RestrictNamespaces=~user pid ipc net uts",
            "SystemCallFilter=@system-service @mount",
        ]
    return ["PrivateMounts=yes", "RestrictNamespaces=yes", "SystemCallFilter=@system-service"]


def _sorted(service: Service) -> list[tuple[str, str]]:
    return sorted(service.environment.items())


def _escaped(word: str) -> str:
    """Return a word as systemd.syntax(7) and its specifiers need it."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{safe}"' if any(char.isspace() or char in "\"'\\" for char in word) else safe
