"""A lost catalog and state directory: the repository alone fills them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmvault.app import build_app
from llmvault.cli.main import run
from tests.fakes.policy_files import write_policy
from tests.fakes.quick_repository import PASSWORD
from tests.fakes.sources import FolderSource
from tests.integration.test_backup_repositories import store_torn
from tests.vault import Vault, write_tree

pytestmark = pytest.mark.integration

POLICY = """
    repositories:
      primary: {url: "local:PLACE", password: "file:../password"}
    sources:
      models: {kind: model_dir, path: LIVE}
    plans:
      nightly: {sources: [models], repositories: [primary]}
"""


@pytest.fixture
def policies(vault: Vault, tmp_path: Path) -> Path:
    """Policy files over the vault's repository, which holds two recovery points."""
    live = write_tree(tmp_path / "live", {"config.json": b"{}"})
    vault.add(FolderSource("models", live))
    vault.backup()
    vault.backup()
    store_torn(vault, b"", "rp-torn")
    shutil.rmtree(vault.state)
    (tmp_path / "password").write_text(PASSWORD)
    text = POLICY.replace("PLACE", str(vault.place())).replace("LIVE", str(live))
    return write_policy(tmp_path / "policies", {"policy.yaml": text})


def listed(
    capsys: pytest.CaptureFixture[str], policies: Path, state: Path, *more: str
) -> list[dict[str, Any]]:
    argv = ["recovery-points", "list", "--json", *more]
    assert run([*argv, "--policies", str(policies), "--state", str(state)]) == 0
    points: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["recovery_points"]
    return points


def test_a_scan_fills_the_catalog_and_passes_over_torn_manifests(
    capsys: pytest.CaptureFixture[str], policies: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert listed(capsys, policies, state) == []
    found = listed(capsys, policies, state, "--scan")
    assert len(found) == 2
    assert [(point["plan"], point["verdict"], point["files"]) for point in found] == [
        ("nightly", "proven", 1)
    ] * 2
    assert listed(capsys, policies, state) == found
    assert listed(capsys, policies, state, "--scan") == found


def test_a_local_repository_is_among_what_must_not_be_touched(
    policies: Path, vault: Vault, tmp_path: Path
) -> None:
    app = build_app(policies=policies, state=tmp_path / "state")
    assert app.live_paths() == {
        'source "models"': tmp_path / "live",
        'repository "primary"': vault.place(),
    }
