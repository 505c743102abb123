"""A real Ceph with its S3 gateway, run by ``scripts/ceph``, for the tests of one worker."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.stores import Keys

SCRIPT = Path(__file__).parents[1] / "scripts" / "ceph"
_NO_PACKAGES = 5
_TRIES = 5


@dataclass
class Ceph:
    """A running cluster.

    Attributes:
        owner: keys of the user ``owner``.
    """

    directory: Path
    endpoint: str
    owner: Keys
    _users: dict[str, Keys] = field(default_factory=dict)

    def user(self, name: str) -> Keys:
        """Return the keys of a user, who is made when first asked for."""
        if name not in self._users:
            done = _script("user", str(self.directory), name)
            access, secret = done.stdout.split()
            self._users[name] = Keys(access, secret, f"arn:aws:iam:::user/{name}")
        return self._users[name]


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode == _NO_PACKAGES:
        pytest.skip(f"not run: Ceph cannot be had on this machine: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def running_ceph() -> Iterator[Ceph]:
    """Run a cluster until the context is left; skips the test where there are no packages."""
    _script("fetch")
    for last in reversed(range(_TRIES)):
        # short, since a socket's path may not be long; below the ports that the kernel hands out
        directory = Path(tempfile.mkdtemp(prefix="llmvault-ceph-", dir="/var/tmp"))
        port = random.Random(os.urandom(8)).randrange(20_000, 31_900, 50)
        done = subprocess.run(
            [str(SCRIPT), "up", str(directory), str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode == 0:
            break
        shutil.rmtree(directory, ignore_errors=True)
        assert last, done.stderr  # the ports may have been taken; others are tried
    told = dict(line.split("=", 1) for line in done.stdout.splitlines())
    owner = Keys(
        told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"], "arn:aws:iam:::user/owner"
    )
    try:
        yield Ceph(directory, told["AWS_ENDPOINT_URL"], owner)
    finally:
        _script("down", str(directory))
