"""After a deletion of everything with the owner's keys, the runbook brings a repository back."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError
from llmvault.core.units import format_time
from tests.ceph import Ceph
from tests.stores import Store
from tests.system.deployment import Deployment, make_small
from tests.system.stored import Stored, store_deployment

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "runbooks" / "undelete-a-locked-repository.md").read_text(encoding="utf-8")
LOOK, BACK, PROVE = re.findall(r"^```sh\n(.*?)^```$", RUNBOOK, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def stored(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A deployment on Ceph with two recovery points, of which the older was pruned."""
    deployment = make_small(tmp_path_factory.mktemp("undelete") / "base")
    made = store_deployment(deployment, ceph.endpoint, owner=ceph.owner, backup=ceph.user("backup"))
    assert made.run("init").exit_code == 0
    assert made.run("backup").exit_code == 0
    (deployment.live / "config" / "nginx.conf").write_text("server { listen 8443 ssl; }\n")
    done = made.run("backup", "--json")
    assert done.exit_code == 0, done
    pruned = restic(made, "forget", "--group-by", "tags", "--keep-last", "1", "--prune")
    assert pruned.returncode == 0, pruned.stderr
    return made


def restic(stored: Stored, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run restic itself with the owner's keys."""
    deployment: Deployment = stored.deployment
    keys = {
        "AWS_ACCESS_KEY_ID": stored.variables["OWNER_ID"],
        "AWS_SECRET_ACCESS_KEY": stored.variables["OWNER_KEY"],
        "RESTIC_REPOSITORY": f"s3:{stored.endpoint}/{stored.bucket}/standard",
        "RESTIC_PASSWORD_FILE": str(deployment.base / "secrets" / "password"),
        "RESTIC_CACHE_DIR": str(deployment.base / "restic-cache"),
    }
    return subprocess.run(
        ["restic", *arguments],
        env=deployment.variables(keys),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def sh(stored: Stored, script: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the runbook."""
    program = f'llmvault() {{ {sys.executable} -m llmvault "$@"; }}\nset -eu\n{script}'
    return subprocess.run(
        ["bash", "-c", program],
        env=stored.deployment.variables(stored.variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def attack(ceph: Ceph, stored: Stored) -> tuple[int, int]:
    """Delete everything with the owner's keys; return hidden objects and refused versions."""
    bucket = Store(ceph.endpoint, ceph.owner).bucket(stored.bucket)
    current = [one for one in bucket.versions("") if one.latest and not one.marker]
    for one in current:
        bucket.delete(one.key)
    refused = 0
    for one in tuple(bucket.versions("")):
        if one.marker:
            continue
        try:
            bucket.delete(one.key, one.id, bypass=True)
        except RefusedError:
            refused += 1
    bucket.put("standard/config", b"ransom note")
    return len(current), refused


def test_the_runbook_brings_everything_back(ceph: Ceph, stored: Stored) -> None:
    time.sleep(1)  # moments are told apart by whole seconds on some servers
    good = format_time(datetime.now(UTC))
    time.sleep(1)
    hidden, refused = attack(ceph, stored)
    assert hidden > 5
    assert refused >= hidden
    assert stored.run("drill").exit_code != 0
    assert stored.run("lock", "status").exit_code != 0
    values = f"export GOOD={good} REPOSITORY=primary\n"
    look = sh(stored, re.sub(r"^export .*\n", "", LOOK, flags=re.MULTILINE).join((values, "")))
    assert look.returncode == 0, look.stderr
    assert "would come back" in look.stdout
    back = sh(stored, values + BACK)
    assert back.returncode == 0, back.stderr
    again = sh(stored, values + BACK)
    assert again.returncode == 0, again.stderr
    proved = sh(stored, values + PROVE)
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "Proven" in proved.stdout
    checked = restic(stored, "check", "--read-data")
    assert checked.returncode == 0, checked.stderr
