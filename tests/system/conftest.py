"""What tests of whole command lines share: deployments, made once per worker and copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.deployment import Deployment, make_small, make_whole


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A small deployment with an empty repository; copy it before you change it."""
    return make_small(tmp_path_factory.mktemp("small") / "base")


@pytest.fixture(scope="session")
def backed_up(small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A small deployment with one proven recovery point; copy it before you change it."""
    made = small.copy(tmp_path_factory.mktemp("backed-up") / "base")
    done = made.run("backup", "--json")
    assert done.exit_code == 0, done
    return made


@pytest.fixture
def fresh(small: Deployment, tmp_path: Path) -> Deployment:
    """A small deployment of one's own, with an empty repository."""
    return small.copy(tmp_path / "fresh")


@pytest.fixture
def point(backed_up: Deployment, tmp_path: Path) -> Deployment:
    """A small deployment of one's own, with one proven recovery point."""
    return backed_up.copy(tmp_path / "point")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment of every kind of source that needs no server; copy it before you change it."""
    return make_whole(tmp_path_factory.mktemp("whole") / "base")
