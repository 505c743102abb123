"""The runbook on retention works: its commands are taken out of the text and executed, in order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.deployment import Deployment, make_small
from tests.system.history import History, make_history

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "runbooks" / "approve-a-retention-plan.md").read_text(encoding="utf-8")
ASK, APPROVE, BY_HAND, APPLY, SHOW = re.findall(
    r"^```sh\n(.*?)^```$", RUNBOOK, re.DOTALL | re.MULTILINE
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    for tool in ("bash", "jq", "ssh-keygen", "sha256sum"):
        if shutil.which(tool) is None:
            pytest.skip(f"not run: the runbook needs {tool}, which is not installed")
    return make_history(make_small(tmp_path / "base"))


def shell(history: History, *scripts: str, person: str = "ada") -> str:
    """Run shell blocks as one script, and return what they print."""
    deployment: Deployment = history.deployment
    place = deployment.base / "desk"
    place.mkdir(exist_ok=True)
    program = Path(sys.executable).with_name("llmvault")
    variables = {
        "KEY": str(history.key(person)),
        "PERSON": person,
        "PATH": f"{program.parent}:{deployment.variables()['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(scripts)],
        cwd=place,
        env=deployment.variables(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("approve", [APPROVE, BY_HAND], ids=["with a key", "by hand"])
def test_the_runbook_from_asking_to_the_account(history: History, approve: str) -> None:
    going = {one for one, action in history.actions().items() if action == "delete"}
    printed = shell(history, ASK, approve, APPLY, SHOW)
    assert going
    for one in going:
        assert one in printed
    assert history.left() == set(history.points) - going
    account = (history.deployment.base / "desk" / "retention.csv").read_text()
    assert account.count(",deleted,no rule") == len(going)
