"""The promise, as one story: back up, lose everything, drill, restore. JSON is a contract."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.deployment import HUB_REPOSITORY, Completed, Deployment, chroma_client

pytestmark = pytest.mark.system

CHECK = {"name": str, "source": str, "verdict": str, "detail": str}
IDENTITY = {"engine": str, "version": str, "device": str, "dtype": str}
OBJECTIVE = {"objective_s": float, "measured_s": float, "met": bool}
BACKUP = {
    "recovery_point": str,
    "plan": str,
    "verdict": str,
    "sources": [
        {
            "name": str,
            "kind": str,
            "snapshot": str,
            "verdict": str,
            "bytes_processed": int,
            "bytes_added": int,
            "files": int,
            "sha256_verified": int,
            "seconds": float,
            "reason": str,
        }
    ],
    "repositories": [{"name": str, "verdict": str, "reason": str}],
    "checks": [CHECK],
    "seconds": float,
}
DRILL = {
    "drill": str,
    "plan": str,
    "recovery_point": str,
    "host": str,
    "started": str,
    "recovery_point_finished": str,
    "verdict": str,
    "checks": [CHECK],
    "phases": dict.fromkeys(("fetch", "verify", "load", "first_answer", "total"), float),
    "rto": OBJECTIVE,
    "rpo": OBJECTIVE,
    "sources": [
        {
            "name": str,
            "kind": str,
            "files": int,
            "bytes": int,
            "repository": str,
            "snapshot": str,
        }
    ],
    "engines": {"language": IDENTITY, "embedding": IDENTITY},
    "replay_seconds": float,
    "versions": {"llmvault": str, "restic": str},
    "policy_digest": str,
    "report": str,
}
RESTORE = {
    "restore": str,
    "recovery_point": str,
    "target": str,
    "verdict": str,
    "sources": [
        {
            "name": str,
            "path": str,
            "files": int,
            "bytes": int,
            "fetch_seconds": float,
            "verify_seconds": float,
        }
    ],
    "checks": [CHECK],
    "seconds": float,
}
POINTS = {
    "recovery_points": [
        {
            "id": str,
            "plan": str,
            "host": str,
            "started": str,
            "finished": str,
            "verdict": str,
            "files": int,
            "bytes": int,
            "sources": [
                {
                    "name": str,
                    "kind": str,
                    "verdict": str,
                    "reason": str,
                    "files": int,
                    "bytes": int,
                    "snapshots": {"primary": str},
                }
            ],
        }
    ]
}
STATUS = {
    "verdict": str,
    "holds": int,
    "ledger": {"entries": int, "verified": type(None)},  # `ledger verify` was never run
    "hosts": list,  # those that share the catalog: none here
    "plans": [
        {
            "plan": str,
            "verdict": str,
            "next_step": str,
            "recovery_point": {"id": str, "verdict": str, "age_s": float},
            "rpo": OBJECTIVE,
            "drill": {"id": str, "recovery_point": str, "verdict": str, "report": str},
            "rto": {"objective_s": float, "measured_s": float},
        }
    ],
}
DOCTOR = {
    "verdict": str,
    "diagnoses": [{"subject": str, "verdict": str, "detail": str, "next_step": str}],
}


def misfits(found: object, shape: object, where: str = "$") -> list[str]:
    """Return where a document differs from a shape: exact keys, exact types, no empty list."""
    if isinstance(shape, dict):
        if not isinstance(found, dict) or found.keys() != shape.keys():
            return [f"{where}: {sorted(found) if isinstance(found, dict) else found}"]
        return [m for key in shape for m in misfits(found[key], shape[key], f"{where}.{key}")]
    if isinstance(shape, list):
        if not isinstance(found, list) or not found:
            return [f"{where}: {found}"]
        return [m for place, one in enumerate(found) for m in misfits(one, shape[0], f"[{place}]")]
    return [] if type(found) is shape else [f"{where}: {found!r} is no {shape}"]


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return everything below a folder: mode (kind included), content or target."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content: bytes | str = b""
        if stat.S_ISLNK(mode):
            mode, content = stat.S_IFLNK, str(path.readlink())
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (mode, content)
    return found


@dataclass(frozen=True)
class Story:
    """What was run, in this order, and how it ended."""

    deployment: Deployment
    lost: dict[str, dict[str, tuple[int, bytes | str]]]
    doctor: Completed
    early_status: Completed
    dry_run: Completed
    backup: Completed
    again: Completed
    drill: Completed
    drill_random: Completed
    restored: Completed
    restored_in_part: Completed
    status: Completed

    @property
    def point(self) -> str:
        return str(self.backup.document["recovery_point"])


@pytest.fixture(scope="module")
def story(whole: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Tell it once; the tests look at its parts."""
    base = tmp_path_factory.mktemp("story")
    deployment = whole.copy(base / "base")
    run = deployment.run
    before = [
        run("doctor", "--json"),
        run("status", "--json"),
        run("backup", "--dry-run", "--json"),
        run("backup", "--json"),
        run("backup"),
    ]
    lost = {folder.name: tree(folder) for folder in deployment.live.iterdir()}
    shutil.rmtree(deployment.live)
    first = before[3].document["recovery_point"]
    after = [
        run("drill", "--json"),
        run("drill", "--recovery-point", "random"),
        run("restore", "latest", "--target", str(base / "restored"), "--json"),
        run("restore", first, "--target", str(base / "part"), "--source", "configs"),
        run("status", "--json"),
    ]
    return Story(deployment, lost, *before, *after)


def test_every_command_of_the_story_is_proven(story: Story) -> None:
    for done in (story.backup, story.drill, story.restored, story.status):
        assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    for done in (story.again, story.drill_random, story.restored_in_part):
        assert done.exit_code == 0, done


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("backup", BACKUP),
        ("drill", DRILL),
        ("restored", RESTORE),
        ("status", STATUS),
        ("doctor", DOCTOR),
    ],
)
def test_documents_have_exactly_their_keys_and_types(
    story: Story, part: str, shape: dict[str, Any]
) -> None:
    assert misfits(getattr(story, part).document, shape) == []


def test_before_the_first_backup(story: Story) -> None:
    assert (story.early_status.exit_code, story.early_status.document["verdict"]) == (3, "unproven")
    (plan,) = story.early_status.document["plans"]
    assert (plan["recovery_point"], plan["next_step"]) == (None, "llmvault backup")
    assert story.dry_run.exit_code == 0
    (plan,) = story.dry_run.document["plans"]
    assert [source["name"] for source in plan["sources"]] == [
        *("hub", "model", "adapter", "configs", "passages")
    ]


def test_a_dry_run_leaves_nothing(fresh: Deployment) -> None:
    assert fresh.run("backup", "--dry-run").exit_code == 0
    assert fresh.restic("snapshots", "--json").stdout.strip() == "[]"
    assert fresh.run("recovery-points", "list", "--json").document == {"recovery_points": []}


def test_the_backup_counts_what_there_was(story: Story) -> None:
    for source in story.backup.document["sources"]:
        kept = story.lost[
            {"passages": "chroma", "configs": "config"}.get(source["name"], source["name"])
        ]
        files = [content for mode, content in kept.values() if stat.S_ISREG(mode)]
        if source["kind"] != "chroma":
            assert source["files"] == len(files)
            assert source["bytes_processed"] == sum(map(len, files))
        assert source["sha256_verified"] == source["files"]
        assert len(source["snapshot"]) == 64
    checks = {check["name"]: check["detail"] for check in story.backup.document["checks"]}
    assert "64 dimensions" in checks["embedding-dimension"]
    assert HUB_REPOSITORY in checks["adapter-base"]


def test_people_read_the_verdict(story: Story) -> None:
    assert "nightly: proven" in story.again.stdout
    for source in ("hub", "model", "adapter", "configs", "passages"):
        assert source in story.again.stdout
    assert "Proven: the deployment of plan nightly was restored" in story.drill_random.stdout
    for promise in ("RTO", "RPO"):
        assert re.search(rf"^{promise} .+, objective .+: met", story.drill_random.stdout, re.M)
    assert "restore: proven" in story.restored_in_part.stdout


def test_the_second_backup_compares_with_the_first(story: Story) -> None:
    assert story.again.stdout.count(f"compared with {story.point}") == 5


def test_drills_choose_the_recovery_point(story: Story) -> None:
    points = story.deployment.run("recovery-points", "list", "--json").document["recovery_points"]
    newest, first = (point["id"] for point in points)
    assert first == story.point
    assert story.drill.document["recovery_point"] == newest
    assert any(f" {point}, completed" in story.drill_random.stdout for point in (newest, first))
    assert story.restored.document["recovery_point"] == newest
    assert first in story.restored_in_part.stdout


def test_the_drill_looked_at_everything(story: Story) -> None:
    names = {(check["name"], check["source"]) for check in story.drill.document["checks"]}
    assert names >= {
        *((check, source) for check in ("digests", "tree") for source in ("hub", "model")),
        ("digests", "passages"),
        ("records", "passages"),
        ("models", "hub"),
        ("headers", "model"),
        ("engine:language", "model"),
        ("engine:embedding", "model"),
        ("golden:answers", "model"),
        ("golden:vectors", "model"),
        ("golden:neighbours", "passages"),
        ("rto", ""),
        ("rpo", ""),
    }
    phases = story.drill.document["phases"]
    assert phases["total"] == story.drill.document["rto"]["measured_s"]
    assert sum(value for name, value in phases.items() if name != "total") <= phases["total"]


def test_reports_are_kept_as_page_and_as_document(story: Story) -> None:
    (second,) = re.findall(r"^report: (.+)$", story.drill_random.stdout, re.M)
    for page in (Path(story.drill.document["report"]), Path(second)):
        text = page.read_text(encoding="utf-8")
        document = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
        assert document["verdict"] == "proven"
        assert document["drill"] in text
        assert page.stat().st_mode & 0o077 == 0
        if page.name.startswith(story.drill.document["drill"]):
            assert document == story.drill.document


def test_nothing_is_left_of_drills(story: Story) -> None:
    assert list((story.deployment.state / "scratch").iterdir()) == []
    assert story.deployment.processes() == set()
    assert "no errors were found" in story.deployment.restic("check", "--read-data").stdout


def test_everything_is_back_as_it_was(story: Story) -> None:
    target = Path(story.restored.document["target"])
    for source in ("hub", "model", "adapter"):
        assert tree(target / source) == story.lost[source]
    assert tree(target / "configs") == story.lost["config"]
    assert tree(target.with_name("part")) == {
        "configs": tree(target)["configs"],
        **{f"configs/{name}": entry for name, entry in story.lost["config"].items()},
    }


def test_the_hub_client_finds_the_restored_cache_offline(story: Story) -> None:
    hub = Path(story.restored.document["target"]) / "hub"
    program = (
        "import sys, huggingface_hub as hub\n"
        "print(hub.snapshot_download(sys.argv[1], cache_dir=sys.argv[2], local_files_only=True))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, HUB_REPOSITORY, str(hub)],
        env={**story.deployment.variables(), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = Path(done.stdout.strip())
    assert found.is_relative_to(hub)
    assert (found / "model.safetensors").stat().st_size > 0


def test_the_restored_store_opens(story: Story) -> None:
    store = Path(story.restored.document["target"]) / "passages"
    with chroma_client(store) as client:
        assert client.get_collection("documents", embedding_function=None).count() == 40


def test_points_are_listed_and_shown(story: Story) -> None:
    listed = story.deployment.run("recovery-points", "list", "--plan", "nightly", "--json")
    assert listed.exit_code == 0
    assert misfits(listed.document, POINTS) == []
    shown = story.deployment.run("recovery-points", "show", story.point, "--json")
    point = shown.document["recovery_point"]
    assert (point["id"], point["verdict"], len(point["goldens"])) == (story.point, "proven", 3)
    assert shown.document["format"] == "llmvault/recovery-point/1"
    told = story.deployment.run("recovery-points", "show", "latest").stdout
    assert ": proven" in told
    assert "goldens: answers (4), vectors (2), neighbours (4)" in told


def test_another_host_finds_all_in_the_repository_alone(story: Story, tmp_path: Path) -> None:
    state = str(tmp_path / "other")
    known = story.deployment.run("recovery-points", "list", "--json", "--state", state)
    assert known.document == {"recovery_points": []}
    scanned = story.deployment.run("recovery-points", "list", "--scan", "--json", "--state", state)
    assert misfits(scanned.document, POINTS) == []
    assert len(scanned.document["recovery_points"]) == 2
    target = str(tmp_path / "restored")
    done = story.deployment.run(
        *("restore", "latest", "--source", "model", "--target", target, "--state", state)
    )
    assert done.exit_code == 0, done
    assert tree(Path(target) / "model") == story.lost["model"]


def test_doctor_and_status_for_people(story: Story) -> None:
    doctor = story.deployment.run("doctor")
    assert doctor.exit_code in (1, 3)  # the sources are gone
    for subject in ("restic", 'repository "primary"', 'source "hub"', 'engine "language"'):
        assert subject in doctor.stdout
    status = story.deployment.run("status")
    assert status.exit_code == 0
    assert story.status.document["plans"][0]["drill"]["id"] in status.stdout


def test_unchanged_files_are_not_read_again(fresh: Deployment) -> None:
    path = fresh.live / "model" / "notes.dat"
    path.write_bytes(os.urandom(1 << 16))
    tomorrow = path.stat().st_mtime_ns + 86_400 * 10**9
    os.utime(path, ns=(0, tomorrow))  # a time of change ahead lets every read be noted

    def last_read() -> int:
        return path.stat().st_atime_ns

    if _read_is_not_noted(fresh.live / "probe"):
        pytest.skip("not run: this file system does not note when a file was read")
    assert fresh.run("backup", "--json").exit_code == 0
    noted = last_read()
    assert noted > 0
    second = fresh.run("backup", "--json")
    assert second.exit_code == 0
    assert last_read() == noted
    assert [source["bytes_added"] for source in second.document["sources"]] == [0, 0]
    path.write_bytes(os.urandom(1 << 16))
    os.utime(path, ns=(0, tomorrow))
    third = fresh.run("backup", "--json")
    assert last_read() > noted
    assert third.named("sources", "model")["bytes_added"] > 1 << 16
    assert third.named("sources", "configs")["bytes_added"] == 0


def _read_is_not_noted(probe: Path) -> bool:
    probe.write_text("x")
    os.utime(probe, ns=(0, probe.stat().st_mtime_ns))
    probe.read_bytes()
    return probe.stat().st_atime_ns == 0
