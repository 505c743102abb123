"""The runbook for the loss of the machine works: its commands are executed, in order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Completed, Deployment, make_small

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "runbooks" / "recover-from-nothing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", RUNBOOK, re.DOTALL | re.MULTILINE)
NAMED = re.findall(r"^export (\w+)=\.\.\.", BLOCKS[0], re.MULTILINE)


def proven(done: Completed) -> Completed:
    """Return what a command did, which must have exit code 0."""
    assert done.exit_code == 0, done
    return done


def test_nothing_is_left_and_everything_comes_back(tmp_path: Path) -> None:
    deployment = make_small(tmp_path / "base")
    proven(deployment.run("init", "--json"))
    proven(deployment.run("backup", "--json"))
    proven(deployment.run("drill", "--json"))
    pinned = tmp_path / "pinned"
    pinned.write_text(
        proven(deployment.run("ledger", "checkpoint", "--json")).document["checkpoint"]
    )
    bundle = tmp_path / "evidence.zip"
    proven(deployment.run("evidence", "export", "--output", str(bundle), "--json"))
    prompt = (deployment.live / "config" / "prompts" / "system.md").read_bytes()
    for lost in (deployment.state, deployment.policies, deployment.live, tmp_path / "base/secrets"):
        shutil.rmtree(lost)

    machine = Deployment(deployment.base)
    filled = {
        "REPOSITORY": str(machine.repository),
        "PASSWORD": f"file:{tmp_path / 'copy-of-the-password'}",
        "PINNED": str(pinned),
    }
    (tmp_path / "copy-of-the-password").write_text(PASSWORD)
    assert set(NAMED) == set(filled)
    for number, block in enumerate(BLOCKS):
        if "llmvault doctor" in block:  # the reader puts back what the doctor names
            (machine.base / "secrets").mkdir()
            (machine.base / "secrets" / "password").write_text(PASSWORD)
        script = re.sub(r"^export \w+=\.\.\..*$", "", block, flags=re.MULTILINE)
        done = sh(machine, tmp_path, script, filled)
        assert done.returncode == 0, (number, done.stdout, done.stderr)
    restored = tmp_path / "restored" / "configs" / "prompts" / "system.md"
    assert restored.read_bytes() == prompt
    checked = machine.run("evidence", "verify", str(bundle), "--json")
    assert checked.exit_code in (0, 3), checked
    assert "failed" not in {check["verdict"] for check in checked.document["checks"]}


def sh(
    machine: Deployment, place: Path, script: str, filled: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a block of the runbook."""
    program = f'llmvault() {{ {sys.executable} -m llmvault "$@"; }}\nset -eu\n{script}'
    return subprocess.run(
        ["bash", "-c", program],
        env=machine.variables(filled),
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
