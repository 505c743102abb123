"""The files that make another program keep the scheduler running: systemd's, or cron's. Pure.

systemd: systemd.service(5), systemd.exec(5), systemd.kill(5). cron: crontab(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

MADE_BY = "# Made by: llmvault schedule install"
_STOP_MARGIN = timedelta(seconds=30)  # what is told to stop after finish_within gets ten of these

# What a backup and a drill need as root: read everything, give restored files their owners back,
# start databases under their own accounts, and stop them.
_CAPABILITIES = ("DAC_READ_SEARCH", "DAC_OVERRIDE", "CHOWN", "FOWNER", "SETUID", "SETGID", "KILL")
# What a backup with snapshots needs: read everything, make directories, take and mount snapshots.
_OF_SNAPSHOTS = ("DAC_READ_SEARCH", "DAC_OVERRIDE", "FOWNER", "SYS_ADMIN")
# ZFS and the device-mapper are spoken to through these; LVM reads the volumes, mount opens one.
_OF_VOLUMES = ("/dev/zfs", "/dev/mapper/control", "block-*")
# Where LVM locks, and keeps what its volume groups were.
_OF_LVM = (Path("/etc/lvm"), Path("/run/lock"), Path("/run/lvm"))
SOCKET = Path("/run/llmvault/backups.sock")
BACKUP_SOCKET, BACKUP_SERVICE = "llmvault-backup.socket", "llmvault-backup@.service"
_ONLINE = "network-online.target"
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
# mounts of its own are seen by what it starts, and by nobody else
PrivateMounts=yes
RestrictNamespaces=yes
# Left out, with what would break:
# PrivateNetwork, IPAddressDeny: repositories are reached over the network
# PrivateUsers: files must be read, and given back, with the owners that they have
# MemoryDenyWriteExecute: inference engines compile as they run
# ProcSubset=pid: engines read how much memory and how many processors there are
# ProtectHome=yes: model caches lie in home directories
# RootDirectory: what is backed up lies anywhere
# SystemCallFilter=~@resources: engines bind their threads to processors
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
        snapshots: whether backups take filesystem snapshots. That needs CAP_SYS_ADMIN and mounts,
            which then only a unit for backups has, and not the scheduler.
        snapshot_places: mount points on which snapshots are made as directories.
        gpu: whether drills use a GPU of this host.
        finish_within: how long runs may go on when it is told to stop.
    """

    program: tuple[str, ...]
    environment: Mapping[str, str]
    environment_file: Path
    credentials: Mapping[str, Path]
    writable: tuple[Path, ...]
    snapshots: bool
    snapshot_places: tuple[Path, ...]
    gpu: bool
    user: str
    finish_within: timedelta


def systemd_unit(service: Service) -> str:
    """Return the unit ``llmvault.service``."""
    seconds = int(service.finish_within.total_seconds())
    run = [*service.program, "schedule", "run", "--finish-within", f"{seconds}s"]
    stop = int((service.finish_within + _STOP_MARGIN).total_seconds())
    wanted = f"{_ONLINE} {BACKUP_SOCKET}" if service.snapshots else _ONLINE
    handed_over = [f"Environment=LLMVAULT_BACKUPS={SOCKET}"] if service.snapshots else []
    lines = [
        MADE_BY,
        "[Unit]",
        "Description=llmvault: backups, drills and what else the policy declares, by the clock",
        f"After=time-sync.target {wanted}",
        f"Wants={wanted}",
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
        *_surroundings(service),
        *handed_over,
        "",
        *_confinement(service),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def backup_socket(service: Service) -> str:
    """Return the unit ``llmvault-backup.socket``: where the scheduler asks for backups."""
    lines = [
        MADE_BY,
        "[Unit]",
        "Description=llmvault: where its scheduler asks for backups that take snapshots",
        "",
        "[Socket]",
        f"ListenStream={SOCKET}",
        f"SocketUser={service.user}",
        "SocketMode=0600",
        "Accept=yes",
        "RemoveOnStop=yes",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return "\n".join(lines) + "\n"


def backup_unit(service: Service) -> str:
    """Return the unit ``llmvault-backup@.service``: one backup that may take snapshots.

    It needs no other account's identity and gives no file an owner, as drills and restores do.
    """
    lines = [
        MADE_BY,
        "[Unit]",
        "Description=llmvault: a backup that takes snapshots",
        "CollectMode=inactive-or-failed",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_escaped(one) for one in (*service.program, 'schedule', 'work'))}",
        "# the socket is read for what is asked, and for the end of whoever asked",
        "StandardInput=socket",
        "StandardOutput=journal",
        "KillMode=mixed",
        *_surroundings(service),
        "",
        *_CONFINED.splitlines(),
        _writable((*service.writable, *service.snapshot_places, *_OF_LVM)),
        _capabilities(_OF_SNAPSHOTS),
        *_ambient(service, ("DAC_READ_SEARCH", "SYS_ADMIN")),
        "# snapshots are mounted, and nested ones put together by mounts",
        "SystemCallFilter=@system-service @mount",
        "# not PrivateDevices: volumes are devices",
        *_devices((*_OF_VOLUMES, *(_GPU_DEVICES if service.gpu else ()))),
    ]
    return "\n".join(lines) + "\n"


def _surroundings(service: Service) -> list[str]:
    return [
        *(f"Environment={_escaped(f'{name}={value}')}" for name, value in _sorted(service)),
        f"EnvironmentFile=-{service.environment_file}",
        *(f"LoadCredential={name}:{file}" for name, file in sorted(service.credentials.items())),
        f"User={service.user}",
        "Nice=10",
        "IOSchedulingClass=idle",
        "OOMPolicy=continue",
    ]


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
    return [
        *_CONFINED.splitlines(),
        _writable(service.writable),
        _capabilities(_CAPABILITIES),
        *_ambient(service, ("DAC_READ_SEARCH",)),
        "SystemCallFilter=@system-service",
        *(_devices(_GPU_DEVICES) if service.gpu else ["PrivateDevices=yes"]),
    ]


def _writable(places: Iterable[Path]) -> str:
    return f"ReadWritePaths={' '.join(_escaped(f'-{place}') for place in places)}"


def _capabilities(names: Iterable[str]) -> str:
    return f"CapabilityBoundingSet={' '.join(f'CAP_{name}' for name in names)}"


def _ambient(service: Service, names: Iterable[str]) -> list[str]:
    if service.user == "root":
        return []
    return [f"AmbientCapabilities={' '.join(f'CAP_{name}' for name in names)}"]


def _devices(devices: Iterable[str]) -> list[str]:
    return ["DevicePolicy=closed", *(f"DeviceAllow={device} rw" for device in devices)]


def _sorted(service: Service) -> list[tuple[str, str]]:
    return sorted(service.environment.items())


def _escaped(word: str) -> str:
    """Return a word as systemd.syntax(7) and its specifiers need it."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{safe}"' if any(char.isspace() or char in "\"'\\" for char in word) else safe
