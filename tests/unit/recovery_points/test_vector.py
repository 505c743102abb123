"""The test vector of the format, and the steps by which anybody can check a manifest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmvault.core.verdict import Verdict
from llmvault.drill.golden_store import read_sets
from llmvault.recovery_points.manifest import decode, encode
from llmvault.recovery_points.model import FileRecord
from tests.vault import write_tree

ROOT = Path(__file__).parents[3]
VECTOR = ROOT / "tests" / "vectors" / "recovery-point-1.jsonl"
FORMAT = ROOT / "docs" / "formats" / "recovery-point.md"

CONFIGS = {
    "empty": b"",
    "nginx.conf": b"server { listen 443 ssl; }\n",
    "prompts/system prompt \xe9.md": b"You answer from the passages only.\n",
}


def test_its_values_are_known() -> None:
    manifest = decode(VECTOR.read_bytes())
    assert manifest.id == "rp-20260102T030405Z-0a1b2c"
    assert (manifest.plan, manifest.host, manifest.verdict) == ("nightly", "gpu-1", "unproven")
    assert manifest.finished == datetime(2026, 1, 2, 3, 4, 7, 125000, UTC)
    assert (manifest.rto_seconds, manifest.rpo_seconds) == (900.0, 86_400.0)
    assert [(source.name, source.layout, source.files) for source in manifest.sources] == [
        ("models", "tree", 1),
        ("configs", "tree", 4),
        ("database", "stream", 1),
    ]
    assert manifest.checks[1].verdict is Verdict.UNPROVEN
    (collection,) = manifest.source("database").observation.collections
    assert collection.sample_vectors["1"] == pytest.approx((0.6, -0.8), abs=1e-7)
    (golden,) = read_sets(manifest.goldens)
    assert golden.records[0].question == "a backup"


def test_its_files_are_known() -> None:
    files = decode(VECTOR.read_bytes()).files
    link = files["models"][3]
    assert (link.kind, link.target) == ("symlink", f"../{files['models'][1].path}")
    assert files["configs"][3] == FileRecord("prompts", "dir", 0, 0o2750)
    assert files["configs"][0].path == os.fsdecode(b"caf\xe9.txt")


def test_writing_it_again_gives_the_same_bytes() -> None:
    assert encode(decode(VECTOR.read_bytes())) == VECTOR.read_bytes()


@pytest.fixture
def steps() -> tuple[str, str]:
    """The commands of the chapter on checking one by hand."""
    if shutil.which("jq") is None:
        pytest.skip("not run: jq is not installed")
    chapter = FORMAT.read_text(encoding="utf-8").split("## Checking one by hand")[1]
    first, second = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
    return first, second


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands in a folder, with a restic that only prints the vector."""
    program = folder.with_name("bin") / "restic"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec cat "{VECTOR}"\n')
    program.chmod(0o755)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_digest_is_checked_by_hand(steps: tuple[str, str], tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = run(steps[0], place)
    assert done.returncode == 0, done.stderr
    computed, told, *summary = done.stdout.splitlines()
    assert computed.split()[0] == told
    assert '"verdict": "unproven"' in "\n".join(summary)


def test_restored_files_are_checked_by_hand(steps: tuple[str, str], tmp_path: Path) -> None:
    restored = write_tree(tmp_path / "restored", CONFIGS)
    shutil.copy(VECTOR, restored / "rp.jsonl")
    command = steps[1].replace("NAME", "configs")
    done = run(command, restored)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (restored / "nginx.conf").write_bytes(b"server { listen 80; }\n")
    done = run(command, restored)
    assert done.returncode == 1
    assert done.stdout == "nginx.conf: FAILED\n"
