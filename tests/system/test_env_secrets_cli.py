"""Secrets are recorded by name and never leave: not into repositories, logs, manifests, reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.system.deployment import Completed, Deployment

pytestmark = pytest.mark.system

PLANTED = ("hf-planted-7ZkQ9", "planted pass phrase", "sk_planted_docker_51")
POLICY = """
    sources:
      secrets:
        kind: env_secrets
        path: ../../live/secrets
        key: file:../../secrets/digest-key
        required: [HF_TOKEN, docker/api_key]
    plans:
      nightly: {sources: [secrets, model, configs]}
"""


@pytest.fixture
def planted(fresh: Deployment) -> Deployment:
    """A deployment with secrets in files of three kinds."""
    folder = fresh.live / "secrets"
    (folder / "docker").mkdir(parents=True)
    files = {
        "vllm.env": f"HF_TOKEN={PLANTED[0]}\nPORT=8000\n",
        "database-password": f"{PLANTED[1]}\n",
        "docker/api_key": PLANTED[2],
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (fresh.base / "secrets" / "digest-key").write_text("9f" * 32 + "\n")
    (fresh.base / "secrets" / "digest-key").chmod(0o600)
    fresh.override(POLICY)
    return fresh


def everything(deployment: Deployment, *done: Completed) -> Iterator[tuple[str, bytes]]:
    """Yield all that left the process: outputs, state, and every file of every snapshot."""
    for one in done:
        yield f"output of {one.arguments}", f"{one.stdout}\n{one.stderr}".encode()
    for place in (deployment.state, deployment.repository):
        for path in place.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()
    target = deployment.base / "dumped"
    listed = deployment.restic("snapshots", "--json")
    assert listed.returncode == 0, listed.stderr
    yield "snapshots", listed.stdout.encode()
    for number, snapshot in enumerate(snapshot_ids(listed.stdout)):
        place = target / str(number)
        assert deployment.restic("restore", snapshot, "--target", str(place)).returncode == 0
        for path in place.rglob("*"):
            if path.is_file():
                yield f"snapshot {path}", path.read_bytes()


def snapshot_ids(text: str) -> list[str]:
    return [one["id"] for one in json.loads(text)]


def test_planted_secrets_are_nowhere_but_where_they_were(planted: Deployment) -> None:
    done = planted.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    assert done.named("sources", "secrets")["files"] == 1
    drilled = planted.run("drill", "--json")
    assert (drilled.exit_code, drilled.bad()) == (0, {})
    target = planted.base / "back"
    restored = planted.run("restore", "latest", "--target", str(target))
    assert restored.exit_code == 0, restored
    shown = planted.run("recovery-points", "show", "latest")
    read = list(everything(planted, done, drilled, restored, shown))
    read += [(str(path), path.read_bytes()) for path in target.rglob("*") if path.is_file()]
    assert any(b"vllm.env:HF_TOKEN" in content for _, content in read)
    found = [
        (where, text) for where, content in read for text in PLANTED if text.encode() in content
    ]
    assert found == []


def test_a_restore_tells_which_secrets_are_missing_and_which_were_changed(
    planted: Deployment,
) -> None:
    assert planted.run("backup").exit_code == 0
    folder = planted.live / "secrets"
    (folder / "database-password").write_text("another one")
    changed = planted.run("restore", "latest", "--target", str(planted.base / "a"), "--json")
    verdict, detail = changed.bad()[("secrets", "secrets")]
    assert (changed.exit_code, verdict) == (3, "unproven")
    assert detail.endswith(": database-password")
    shutil.rmtree(folder)
    lost = planted.run("restore", "latest", "--target", str(planted.base / "b"), "--json")
    verdict, detail = lost.bad()[("secrets", "secrets")]
    assert (lost.exit_code, verdict) == (1, "failed")
    assert "vllm.env:HF_TOKEN" in detail
    assert (planted.base / "b" / "secrets" / "secrets.json").is_file()


def test_a_required_secret_that_is_not_there_fails_the_backup(planted: Deployment) -> None:
    (planted.live / "secrets" / "vllm.env").write_text("PORT=8000\n")
    done = planted.run("backup", "--json")
    assert done.exit_code == 1
    assert "HF_TOKEN" in done.named("sources", "secrets")["reason"]
