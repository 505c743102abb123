"""Runbooks work: their commands are taken out of the text and executed, in order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Deployment, make_small

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "runbooks" / "recover-with-restic-alone.md").read_text(encoding="utf-8")
FORMAT = (ROOT / "docs" / "formats" / "recovery-point.md").read_text(encoding="utf-8")
TOOLS = ("bash", "jq", "restic", "sha256sum")


def blocks(text: str) -> list[str]:
    """Return the shell blocks of a document, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


OPEN, READ, RESTORE, CHECK, LOCATE = blocks(RUNBOOK)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A small deployment that llmvault has backed up; llmvault is not used after that."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"not run: the runbook needs {tool}, which is not installed")
    made = make_small(tmp_path_factory.mktemp("runbook") / "base")
    odd = made.live / "model" / "a name with 'quotes' $and spaces.txt"
    odd.write_text("odd")
    done = made.run("backup", "--json")
    assert done.exit_code == 0, done
    return made


def shell(deployment: Deployment, place: Path, *scripts: str) -> subprocess.CompletedProcess[str]:
    """Run shell blocks as one script, with what the reader fills in filled in."""
    script = "".join(
        line
        for text in scripts
        for line in text.splitlines(keepends=True)
        if not re.match(r"export RESTIC_\w+=\.\.\.", line)
    )
    password = place / "password"
    password.write_text(PASSWORD)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=deployment.variables(
            {
                "RESTIC_REPOSITORY": str(deployment.repository),
                "RESTIC_PASSWORD_FILE": str(password),
                "RESTIC_CACHE_DIR": str(place / "cache"),
            }
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return relative path -> content and mode of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_reader_fills_in_what_the_first_step_names() -> None:
    assert re.findall(r"^export (\w+)=\.\.\.", OPEN, re.MULTILINE) == [
        *("RESTIC_REPOSITORY", "RESTIC_PASSWORD_FILE")
    ]


def test_stock_restic_brings_everything_back(deployment: Deployment, tmp_path: Path) -> None:
    done = shell(deployment, tmp_path, OPEN, READ, RESTORE, CHECK, LOCATE)
    assert done.returncode == 0, done
    point = deployment.run("recovery-points", "list", "--json").document["recovery_points"][0]
    assert f"{point['id']} proven" in done.stdout
    assert f"model: {deployment.live}/model" in done.stdout
    restored = tmp_path / "restored"
    assert {folder.name for folder in restored.iterdir()} == {"model", "configs"}
    assert files(restored / "model") == files(deployment.live / "model")
    assert files(restored / "configs") == files(deployment.live / "config")


def test_the_check_names_a_file_that_differs(deployment: Deployment, tmp_path: Path) -> None:
    assert shell(deployment, tmp_path, READ, RESTORE, CHECK).returncode == 0
    weights = tmp_path / "restored" / "model" / "language.gguf"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = shell(deployment, tmp_path, CHECK)
    assert done.returncode != 0
    assert "language.gguf: FAILED" in done.stdout
    assert done.stdout.count("FAILED") == 1


def test_a_manifest_that_was_cut_short_stops_the_reader(
    deployment: Deployment, tmp_path: Path
) -> None:
    assert shell(deployment, tmp_path, READ).returncode == 0
    manifest = tmp_path / "recovery-point.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    for torn in ([*lines[:2], *lines[3:]], lines[:-1]):
        manifest.write_bytes(b"".join(torn))
        compare = READ.splitlines()[1]
        assert shell(deployment, tmp_path, compare).returncode != 0


def test_the_format_can_be_checked_by_hand(deployment: Deployment, tmp_path: Path) -> None:
    read, compare = blocks(FORMAT)
    done = shell(deployment, tmp_path, read)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == lines[1]
    assert shell(deployment, tmp_path, READ, RESTORE).returncode == 0
    named = compare.replace("NAME", "model").replace("rp.jsonl", "../../rp.jsonl")
    done = shell(deployment, tmp_path, f"cd restored/model\n{named}")
    assert (done.returncode, done.stdout) == (0, ""), done
