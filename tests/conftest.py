"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.ceph import Ceph
    from tests.stores import Store

# On a busy machine a single example may take long without anything being wrong.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A real Ceph; where it cannot be had, the tests that need it are skipped and say so."""
    from tests.ceph import running_ceph

    with running_ceph() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def moto() -> Iterator[Store]:
    """A simulated S3 with Object Lock, without access control."""
    from tests.stores import running_moto

    with running_moto() as store:
        yield store


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An S3 server that accepts locks and versions, and keeps neither."""
    from tests.stores import running_rclone

    with running_rclone(tmp_path_factory.mktemp("rclone")) as store:
        yield store
