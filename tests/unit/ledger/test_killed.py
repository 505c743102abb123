"""Killed between an entry and its checkpoint: what was acknowledged stays, the rest never was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from llmvault.core.verdict import Verdict
from llmvault.keys.store import KeyFiles
from llmvault.ledger.verify import verify_ledger
from tests.unit.ledger.conftest import open_at

ROOT = Path(__file__).parents[3]

# dies by SIGKILL at the Nth time that it waits for the disk
WRITER = """
import os, signal, sys
from pathlib import Path
from tests.unit.ledger.conftest import open_at

place, left = sys.argv[1], int(sys.argv[2])
ledger = open_at(Path(place))
ledger.append("t.e", {"kept": True})
fsync = os.fsync

def dying(descriptor):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = dying
print("ready", flush=True)
ledger.append("t.lost", {})
print("acknowledged", flush=True)
"""


def killed_at(place: Path, number: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(place), str(number)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_killed_at_every_step_of_an_append(tmp_path: Path) -> None:
    lengths = []
    for number in range(1, 30):
        place = tmp_path / str(number)
        done = killed_at(place, number)
        if done.returncode == 0:
            break
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "ready\n"), done
        again = open_at(place)
        kinds = [one.kind for one in again.files.entries()]
        assert kinds in (["t.e"], ["t.e", "t.lost"]), "whole, or not there"
        lengths.append(len(kinds))
        assert again.append("t.next", {}) == len(kinds)
        checks = verify_ledger(again.files, KeyFiles(place / "keys").verifiers(), ())
        verdicts = {check.name: check.verdict for check in checks}
        assert verdicts.pop("pinned") is Verdict.UNPROVEN
        assert set(verdicts.values()) == {Verdict.PROVEN}
        assert [one.kind for one in again.files.entries()] == [*kinds, "t.next"]
    else:
        raise AssertionError("it was killed for ever")
    assert done.stdout == "ready\nacknowledged\n"
    assert lengths == sorted(lengths)
    assert lengths.count(1) >= 3, "bundle, tile and checkpoint each wait for the disk"
