"""Killed between an entry and its checkpoint: what was acknowledged stays, the rest never was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llmvault.core.verdict import Verdict
from llmvault.keys.store import KeyFiles
from llmvault.ledger.verify import verify_ledger
from tests.unit.ledger.conftest import open_at

ROOT = Path(__file__).parents[3]

# dies by SIGKILL when the file that its argument names is about to be replaced for the Nth time
WRITER = """
import os, signal, sys
from pathlib import Path
from llmvault.core import files
from tests.unit.ledger.conftest import open_at

place, wanted = sys.argv[1], sys.argv[2]
ledger = open_at(Path(place))
ledger.append("t.e", {"kept": True})
replace = os.replace

def dying(source, target, **more):
    if wanted in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **more)

os.replace = dying
Path.replace = lambda self, target: dying(self, target)
print("ready", flush=True)
ledger.append("t.lost", {})
print("acknowledged", flush=True)
"""


def killed_at(place: Path, wanted: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(place), wanted],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -9, done
    return done.stdout


def test_a_kill_before_the_checkpoint_leaves_the_ledger_whole(tmp_path: Path) -> None:
    for wanted in ("tile/entries", "tile/0", "checkpoint"):
        place = tmp_path / wanted.replace("/", "-")
        assert killed_at(place, wanted) == "ready\n", "it was never acknowledged"
        again = open_at(place)
        assert [one.kind for one in again.files.entries()] == ["t.e"]
        assert again.append("t.next", {}) == 1
        checks = verify_ledger(again.files, KeyFiles(place / "keys").verifiers(), ())
        verdicts = {check.name: check.verdict for check in checks}
        assert verdicts.pop("pinned") is Verdict.UNPROVEN
        assert set(verdicts.values()) == {Verdict.PROVEN}
        assert [one.kind for one in again.files.entries()] == ["t.e", "t.next"]
