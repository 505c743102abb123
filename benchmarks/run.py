"""``scripts/bench``: llmvault and plain restic in turn on the same tree; ratios of medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.data import SMALL_FILES, make_tree, write_shard
from benchmarks.ledger import THREADS, measure_ledger
from benchmarks.measure import Sample, compile_modules, drop_caches, median, run
from benchmarks.quarter import write_quarter
from benchmarks.retention import retention
from llmvault.core.clock import SystemClock
from llmvault.core.secrets import Secret
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Terms
from llmvault.locks.observe import ask_locks, list_objects
from llmvault.locks.plan import plan_extension, unknown
from llmvault.objectstore.model import Location, LockMode
from llmvault.objectstore.s3 import Credential
from tests.fakes.listed_bucket import ListedBucket

PASSWORD = "only-for-measuring"
POLICY = """\
version: 1
repositories:
  bench: {{url: {repository}, password: "file:{password}"}}
sources:
  model: {{kind: model_dir, path: {tree}}}
plans:
  bench: {{sources: [model], repositories: [bench]}}
"""


@dataclass
class Bench:
    """One measurement: a place on disk and the rows it has produced."""

    base: Path
    rounds: int
    size: int
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """The tree that is backed up."""
        return self.base / "model"

    def repository(self, name: str) -> Path:
        """Make an empty repository."""
        path = self.base / f"repository-{name}"
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["restic", "init", "-q"], env=self.restic_env(path), check=True)
        return path

    def restic_env(self, repository: Path) -> dict[str, str]:
        """Return restic's environment for a repository."""
        return {
            **os.environ,
            "RESTIC_REPOSITORY": str(repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.base / "cache"),
        }

    def vault_env(self, name: str, repository: Path, tree: Path) -> dict[str, str]:
        """Write a policy and return llmvault's environment for it."""
        policies = self.base / f"policies-{name}"
        policies.mkdir(exist_ok=True)
        password = self.base / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        text = POLICY.format(repository=repository, password=password, tree=tree)
        (policies / "policy.yaml").write_text(text)
        return {
            "LLMVAULT_POLICIES": str(policies),
            "LLMVAULT_STATE": str(self.base / f"state-{name}"),
        }

    def row(self, what: str, ours: list[Sample], theirs: list[Sample], target: str) -> None:
        """Keep a comparison: the medians, and the ratio of wall times pair by pair."""
        ratios = [a.wall / b.wall for a, b in zip(ours, theirs, strict=True)]
        self.rows.append(
            (
                what,
                f"{median(ours, 'wall'):.2f} s",
                f"{median(theirs, 'wall'):.2f} s",
                f"{statistics.median(ratios):.2f}",
                f"{median(ours, 'cpu') / median(theirs, 'cpu'):.2f}",
                target,
            )
        )
        print(*self.rows[-1], sep="  |  ", flush=True)

    def fact(self, what: str, value: str, target: str) -> None:
        """Keep a figure that is compared with nothing."""
        self.rows.append((what, value, "", "", "", target))
        print(what, value, target, sep="  |  ", flush=True)


TUNED = ("--compression", "off", "--pack-size", "64", "--no-scan")


def first_backup(bench: Bench) -> None:
    """Compare the first backup with restic's defaults and with the best by hand."""
    plain, tuned, ours = [], [], []
    for _ in range(bench.rounds):
        repository = bench.repository("plain")
        env = bench.restic_env(repository)
        os.sync()  # what the one before wrote is not to be written in the time of the next
        plain.append(run(["restic", "backup", "-q", str(bench.tree)], env=env))
        env = bench.restic_env(bench.repository("tuned"))
        os.sync()
        tuned.append(run(["restic", "backup", "-q", *TUNED, "."], env=env, cwd=bench.tree))
        shutil.rmtree(bench.base / "state-ours", ignore_errors=True)
        env = bench.vault_env("ours", bench.repository("ours"), bench.tree)
        os.sync()
        ours.append(run(["llmvault", "backup"], env=env))
    bench.row("first backup, against restic's defaults", ours, plain, "< 1")
    bench.row("first backup, against restic tuned by hand", ours, tuned, "<= 1.05")
    bench.fact(
        "peak memory of the Python process", f"{max(s.peak_mib for s in ours):.0f} MiB", "< 200"
    )


def unchanged(bench: Bench) -> None:
    """Compare backups of an unchanged tree: same path, new path, new inodes."""
    plain_env = bench.restic_env(bench.base / "repository-plain")
    env = bench.vault_env("ours", bench.base / "repository-ours", bench.tree)

    def plain() -> Sample:
        return run(["restic", "backup", "-q", str(bench.tree)], env=plain_env)

    _overhead(bench, "unchanged, same path", env, plain)
    moved = bench.base / "moved" / "model"
    moved.parent.mkdir()
    bench.tree.rename(moved)
    env = bench.vault_env("ours", bench.base / "repository-ours", moved)
    subprocess.run(
        ["restic", "backup", "-q", "--tag", "bench", "."], env=plain_env, cwd=moved, check=True
    )

    def ignoring(tree: Path) -> Callable[[], Sample]:
        argv = ["restic", "backup", "-q", "--parent", _latest(plain_env), "--ignore-inode", "."]
        return lambda: run(argv, env=plain_env, cwd=tree)

    _overhead(bench, "unchanged, moved to a new path", env, ignoring(moved))
    copies = []
    for number in range(bench.rounds):
        copy = bench.base / f"copy-{number}"
        subprocess.run(["cp", "-a", str(moved), str(copy)], check=True)
        copies.append(copy)
    ours, theirs = [], []
    for copy in copies:
        env = bench.vault_env("ours", bench.base / "repository-ours", copy)
        theirs.append(ignoring(copy)())
        ours.append(run(["llmvault", "backup"], env=env))
    _overhead_row(bench, "unchanged, copied (new inodes)", ours, theirs)
    for copy in copies:
        shutil.rmtree(copy)
    moved.rename(bench.tree)


def _latest(env: dict[str, str]) -> str:
    argv = ["restic", "snapshots", "--json", "--latest", "1", "--tag", "bench"]
    done = subprocess.run(argv, env=env, check=True, capture_output=True)
    return str(json.loads(done.stdout)[-1]["id"])


def _overhead(bench: Bench, what: str, env: dict[str, str], other: Callable[[], Sample]) -> None:
    ours, theirs = [], []
    for _ in range(bench.rounds + 2):
        theirs.append(other())
        ours.append(run(["llmvault", "backup"], env=env))
    _overhead_row(bench, what, ours, theirs)


def _overhead_row(bench: Bench, what: str, ours: list[Sample], theirs: list[Sample]) -> None:
    more = statistics.median(a.wall - b.wall for a, b in zip(ours, theirs, strict=True))
    bench.row(f"{what}: {more:+.2f} s", ours, theirs, "<= +0.70 s")


def restore(bench: Bench) -> None:
    """Compare a restore with every byte verified to restic's restore without."""
    env = bench.vault_env("ours", bench.base / "repository-ours", bench.tree)
    plain_env = bench.restic_env(bench.base / "repository-plain")
    ours: list[Sample] = []
    theirs: list[Sample] = []
    verified: list[Sample] = []
    target = bench.base / "restored"
    for _ in range(bench.rounds):
        for samples, argv in (
            (theirs, ["restic", "restore", "-q", "latest", "--target", str(target)]),
            (ours, ["llmvault", "restore", "latest", "--target", str(target)]),
            (verified, ["restic", "restore", "-q", "--verify", "latest", "--target", str(target)]),
        ):
            shutil.rmtree(target, ignore_errors=True)
            os.sync()
            samples.append(run(argv, env=env if samples is ours else plain_env))
    shutil.rmtree(target, ignore_errors=True)
    bench.row("restore with every digest, against restic restore", ours, theirs, "<= 1.25")
    bench.row("the same, against restic restore --verify", ours, verified, "")


def disk_reads(bench: Bench) -> None:
    """Count the bytes that a first backup and a backup of one changed shard take from the disk."""
    if not drop_caches():
        bench.fact("bytes read from disk", "not run: needs root to empty the page cache", "")
        return
    shutil.rmtree(bench.base / "state-cold", ignore_errors=True)
    env = bench.vault_env("cold", bench.repository("cold"), bench.tree)
    drop_caches()
    first = run(["llmvault", "backup"], env=env)
    size = sum(f.stat().st_size for f in bench.tree.rglob("*") if f.is_file()) / 2**20
    bench.fact(
        "first backup, cold: read from disk, of the tree's size",
        f"{first.read_mib:.0f} MiB of {size:.0f} MiB = {first.read_mib / size:.2f}",
        "about 1",
    )
    shard = min(bench.tree.glob("*.safetensors"))
    write_shard(shard, "layers.0.weight", bench.size // 4, seed=1234)
    drop_caches()
    changed = run(["llmvault", "backup"], env=env)
    part = shard.stat().st_size / 2**20
    bench.fact(
        "one shard of four changed, cold: read from disk, of the shard's size",
        f"{changed.read_mib:.0f} MiB of {part:.0f} MiB = {changed.read_mib / part:.2f}",
        "about 1",
    )
    bench.fact(
        "one shard of four changed: time, of the first backup's",
        f"{changed.wall:.2f} s of {first.wall:.2f} s = {changed.wall / first.wall:.2f}",
        "about 0.25",
    )


def start_up(bench: Bench) -> None:
    """Measure the start of the program."""
    samples = [run(["llmvault", "--help"], env={}) for _ in range(11)][1:]
    bench.fact("llmvault --help, median of 10", f"{median(samples, 'wall'):.3f} s", "< 0.25 s")


def evidence(bench: Bench) -> None:
    """Measure the evidence of a quarter: fifty sources in ten plans, backed up daily."""
    policies, state = bench.base / "policies-quarter", bench.base / "state-quarter"
    password = bench.base / "password-quarter"
    password.write_text(PASSWORD)
    entries = write_quarter(policies, state, password)
    env = {"LLMVAULT_POLICIES": str(policies), "LLMVAULT_STATE": str(state)}
    output = bench.base / "evidence.zip"
    made = run(["llmvault", "evidence", "export", "--output", str(output)], env=env)
    what = f"a quarter's evidence for 50 sources ({entries} ledger entries)"
    bench.fact(what, f"{made.wall:.1f} s", "< 20 s")
    key = str(state / "keys" / "signing.pub.pem")
    checked = run(["llmvault", "evidence", "verify", str(output), "--key", key], env=env)
    bench.fact("verifying it", f"{checked.wall:.1f} s", "")


def ledger(bench: Bench) -> None:
    """Measure the ledger, on the disk that the repositories lie on."""
    found = measure_ledger(bench.base / "ledger", entries=1_000_000)
    what = f"ledger: durable appends of {THREADS} threads"
    bench.fact(what, f"{found.appends_a_second:,.0f}/s", ">= 2,000/s")
    bench.fact(f"ledger: {found.entries:,} entries verified", f"{found.verify:.1f} s", "< 10 s")
    bench.fact("ledger: proof of one of them", f"{found.proof * 1000:.1f} ms", "< 10 ms")


def lock_plan(bench: Bench) -> None:
    """Plan the extension of 100,000 packs' locks, first with nothing known of them, then again."""
    names = tuple(f"data/{n % 256:02x}/{n:064x}" for n in range(100_000))
    packs = frozenset(name.rpartition("/")[2] for name in names)
    inventory = Inventory(bench.base / "inventory", "0" * 64)
    keys = Credential("bench", Secret("none"), Secret("none"))
    terms = Terms(LockMode.COMPLIANCE, 30 * 86_400.0, 10 * 86_400.0)
    for what in ("nothing known", "all known"):
        bucket = ListedBucket(Location("http://none", "none"), keys, SystemClock(), names=names)
        began = time.monotonic()
        objects, known = list_objects(bucket, packs), inventory.locks()
        asked = ask_locks(bucket, objects, unknown(objects, known))
        inventory.add(asked)
        plan = plan_extension(objects, known | asked, terms, datetime.now(UTC))
        seconds = time.monotonic() - began
        title = f"lock extension plan, {len(plan.extend):,} packs, {what}"
        bench.fact(title, f"{seconds:.2f} s", "< 10 s beside the server's time")
        heads = bucket.requests["head_object"] / len(names)
        pages = bucket.requests["list_object_versions"]
        told = f"{heads:.2f} HEAD, {pages / len(names):.3f} LIST"
        bench.fact(f"requests per object, {what}", told, "at most one HEAD")


def report(bench: Bench, now: datetime) -> str:
    """Return the results as Markdown."""
    restic = subprocess.run(["restic", "version"], check=True, capture_output=True, text=True)
    head = ("measurement", "llmvault", "other", "ratio (wall)", "ratio (CPU)", "target")
    lines = [
        f"# Backup and restore against plain restic, {now:%Y-%m-%d}",
        "",
        f"Made by `scripts/bench --size {bench.size / 2**30:g} --rounds {bench.rounds}`: "
        f"{bench.size / 2**30:g} GiB of BF16 safetensors in 4 shards and {SMALL_FILES:,} small "
        "files, repository on the same disk, page cache warm unless it says cold. Medians; a ratio "
        "is the median of the pairwise ratios llmvault / other, runs in turn. Ratios travel, "
        "seconds do not.",
        "",
        f"{restic.stdout.strip()}; Python {platform.python_version()}; {platform.machine()}, "
        f"{_cores()} cores.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in bench.rows),
        "",
    ]
    return "\n".join(lines)


def _cores() -> int:
    return os.cpu_count() or 0


PARTS: dict[str, Callable[[Bench], None]] = {
    "start": start_up,
    "first": first_backup,
    "unchanged": unchanged,
    "restore": restore,
    "disk": disk_reads,
    "locks": lock_plan,
    "evidence": evidence,
    "ledger": ledger,
    "retention": retention,
}


def main() -> int:
    """Run the parts and write the results."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--size", type=float, default=2, help="GiB of weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--output", type=Path, help="default: docs/results/bench-DATE.md")
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary one)")
    options = parser.parse_args()
    now = datetime.now(UTC)
    compile_modules()
    with tempfile.TemporaryDirectory(prefix="llmvault-bench-", dir=options.directory) as base:
        bench = Bench(Path(base), options.rounds, int(options.size * 2**30))
        make_tree(bench.tree, size=bench.size)
        for part in options.parts:
            PARTS[part](bench)
        output = options.output or Path("docs/results") / f"bench-{now:%Y-%m-%d}.md"
        output.write_text(report(bench, now))
    print(f"written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
