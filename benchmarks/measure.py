"""Running one whole command and measuring it from outside."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import llmvault

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """One run: wall and CPU seconds (all processes), peak memory of the first process in MiB.

    Attributes:
        family_mib: peak of the memory of all its processes together, looked at ten times a second.
    """

    wall: float
    cpu: float
    peak_mib: float
    read_mib: float
    family_mib: float = 0.0


def compile_modules() -> None:
    """Compile llmvault's modules, as pip does, also where Python is kept from writing them."""
    compileall.compile_dir(Path(llmvault.__file__).parent, quiet=1)


def run(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> Sample:
    """Run a command to its end; a failure stops the measurement."""
    read_before = _disk_read_bytes()
    began = time.monotonic()
    process = subprocess.Popen(
        argv, env={**os.environ, **env}, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = family = looked = 0.0
    while True:
        peak = max(peak, _peak_mib(process.pid))
        if time.monotonic() - looked > _LOOK_SECONDS:
            looked = time.monotonic()
            family = max(family, sum(map(_now_mib, _family(process.pid))))
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        time.sleep(0.005)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        stderr = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"{' '.join(argv)} exited {process.returncode}: {stderr}")
    if process.stderr:
        process.stderr.close()
    read = (_disk_read_bytes() - read_before) / 2**20
    return Sample(wall, usage.ru_utime + usage.ru_stime, peak, read, max(family, peak))


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(map(int, listed.read_text().split()))
            except OSError:
                continue
    return found


def _now_mib(pid: int) -> float:
    """Return the memory that a process has to itself and its share of what it shares, in MiB."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0


def median(samples: Sequence[Sample], field: str) -> float:
    """Return the median of a field."""
    return float(statistics.median(getattr(sample, field) for sample in samples))


def drop_caches() -> bool:
    """Empty the page cache; False where that is not allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def _peak_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024
    return 0.0


def _disk_read_bytes() -> int:
    """Return the bytes read so far from all whole disks (``/proc/diskstats``, 512-byte sectors)."""
    total = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        words = line.split()
        name = words[2]
        if Path(f"/sys/block/{name}").exists() and not name.startswith(("loop", "ram", "dm-")):
            total += int(words[5]) * 512
    return total
