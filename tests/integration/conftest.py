"""What tests on real repositories share."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.verdict import Verdict
from tests.fakes.deployment import FakeDeployment
from tests.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with one empty repository and no source."""
    made = Vault(tmp_path / "vault")
    made.add_repository()
    return made


@pytest.fixture
def deployment(vault: Vault, tmp_path: Path) -> FakeDeployment:
    """Models, documents and engines in memory that the vault protects."""
    made = FakeDeployment(tmp_path / "live")
    made.protect(vault)
    return made


@pytest.fixture
def point(vault: Vault, deployment: FakeDeployment) -> str:
    """The id of a proven recovery point with goldens."""
    result, manifest = vault.backup(recorder=deployment.recorder(vault))
    assert result.verdict is Verdict.PROVEN, result.checks
    return manifest.id
