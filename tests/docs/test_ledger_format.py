"""What docs/formats/ledger.md tells an outsider to do is done to the letter."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.keys.store import KeyFiles
from llmvault.ledger.writer import TileLedger

DOCUMENT = Path(__file__).parents[2] / "docs/formats/ledger.md"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_alone_verifies_a_checkpoint(tmp_path: Path) -> None:
    keys = KeyFiles(tmp_path / "keys")
    keys.make("host/llmvault/x")
    ledger = TileLedger(
        tmp_path / "ledger", keys.signing_key, keys.verifiers, SystemClock(), "host"
    )
    ledger.begin("host/llmvault/x")
    ledger.append("t.e", {})
    shutil.copy(keys.public_path, tmp_path / "ledger.pub")
    shutil.copy(tmp_path / "ledger/checkpoint", tmp_path / "checkpoint")
    (script,) = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)

    def follow() -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = follow()
    assert (good.returncode, good.stdout.strip()) == (0, "Signature Verified Successfully")
    changed = (tmp_path / "checkpoint").read_text().replace("\n1\n", "\n2\n", 1)
    (tmp_path / "checkpoint").write_text(changed)
    assert follow().returncode != 0
