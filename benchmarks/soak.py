"""The scheduler under a schedule of seconds: does it keep its memory, files and processes?

Makes a small deployment, lets ``llmvault schedule run`` back it up and drill it for a while, looks
at the process now and then, stops it, and writes what was seen to docs/results/.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.system.deployment import Deployment, make_small

_JOBS = """
    jobs:
      backups: {kind: backup, every: 15s, grace: 2m, limit: 2m}
      drills: {kind: drill, every: 60s, recovery_point: random, grace: 4m, limit: 3m}
"""
_WARM_SHARE = 0.2
_MOST_GROWTH_KIB = 5 * 1024


@dataclass(frozen=True)
class Sample:
    """The scheduler's process at one moment."""

    seconds: float
    rss_kib: int
    files: int
    threads: int
    cpu_seconds: float


def sample(pid: int, began: float) -> Sample:
    """Look at a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Sample(
        seconds=time.monotonic() - began,
        rss_kib=int(status["VmRSS"].split()[0]),
        files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        cpu_seconds=(int(times[11]) + int(times[12])) / 100,
    )


def soak(deployment: Deployment, minutes: float) -> tuple[list[Sample], int, set[int]]:
    """Run the scheduler; return samples, its exit code, and the processes that it left behind."""
    deployment.override(_JOBS)
    began = time.monotonic()
    process = deployment.start("schedule", "run", "--heartbeat", "10s")
    samples = []
    try:
        while time.monotonic() - began < minutes * 60:
            time.sleep(min(10.0, minutes * 6))
            assert process.poll() is None, "the scheduler ended"
            samples.append(sample(process.pid, began))
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    time.sleep(2)
    return samples, code, deployment.processes()


def main() -> int:
    """Soak, judge, write; return 0 when it holds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--output", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmvault-soak-", dir="/var/tmp") as place:
        deployment = make_small(Path(place) / "base")
        samples, code, left = soak(deployment, chosen.minutes)
        listed = deployment.run("schedule", "list", "--json").document["jobs"]
        points = deployment.run("recovery-points", "list", "--json").document["recovery_points"]
        files = len(list(deployment.state.rglob("*")))
    warm = samples[int(len(samples) * _WARM_SHARE) :]
    third = max(1, len(warm) // 3)
    growth = statistics.median(s.rss_kib for s in warm[-third:]) - statistics.median(
        s.rss_kib for s in warm[:third]
    )
    files_growth = max(s.files for s in warm[-third:]) - max(s.files for s in warm[:third])
    proven = [point for point in points if point["verdict"] == "proven"]
    seen = {
        "minutes": round(samples[-1].seconds / 60, 1),
        "recovery points": len(points),
        "of them proven": len(proven),
        "peak resident memory, MiB": round(max(s.rss_kib for s in samples) / 1024, 1),
        "growth of resident memory, last third against first, MiB": round(growth / 1024, 2),
        "growth of open files": files_growth,
        "threads at most": max(s.threads for s in samples),
        "CPU of the scheduler itself, per cent of one core": round(
            100 * (samples[-1].cpu_seconds - warm[0].cpu_seconds)
            / max(1e-9, samples[-1].seconds - warm[0].seconds), 2,
        ),
        "exit code": code,
        "processes left behind": len(left),
        "files in the state directory at the end": files,
        "last drill": next(one["last"]["outcome"] for one in listed if one["job"] == "drills"),
    }  # fmt: skip
    holds = (
        growth <= _MOST_GROWTH_KIB
        and files_growth <= 2
        and code == 0
        and not left
        and len(proven) == len(points) > 0
    )
    _write(chosen.output, seen, holds=holds)
    print(json.dumps({"holds": holds, **seen}, indent=2))
    return 0 if holds else 1


def _write(output: Path | None, seen: dict[str, object], *, holds: bool) -> None:
    today = datetime.now(UTC).date()
    path = output or Path(__file__).parents[1] / "docs/results" / f"soak-{today}.md"
    rows = "\n".join(f"| {name} | {value} |" for name, value in seen.items())
    verdict = "It holds" if holds else "It does not hold"
    path.write_text(
        f"# The scheduler on a schedule of seconds, {today}\n\n"
        "`scripts/soak`: a backup every 15 s and a random drill every 60 s of a small deployment.\n"
        f"{verdict}: memory and open files stay flat, every recovery point is proven, nothing is\n"
        f"left behind.\n\n| | seen |\n| --- | --- |\n{rows}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    raise SystemExit(main())
