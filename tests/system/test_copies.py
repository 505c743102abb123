"""Copies, reading back in turn, stale locks, and what a restore would cost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.stores import running_rest_server
from tests.system.deployment import Deployment, restic_program
from tests.vault import flip

pytestmark = pytest.mark.system

TWO_PLACES = """
    repositories:
      primary:
        place: {{site: office, account: ops, media: disk}}
        verification: {{parts: 2, within: 30d}}
      far:
        url: {url}
        password: "file:../../secrets/password"
        copy_of: primary
        place: {{site: cloud, account: backup, media: rest-server}}
        verification: {{parts: 1}}
    plans:
      nightly: {{live: {{site: office, account: ops, media: disk}}}}
"""


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_rest_server(tmp_path_factory.mktemp("rest")) as url:
        yield url


@pytest.fixture(scope="module")
def copied(
    backed_up: Deployment, rest: str, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    """A deployment whose only recovery point was copied to an append-only server."""
    made = backed_up.copy(tmp_path_factory.mktemp("copied") / "base")
    made.override(TWO_PLACES.format(url=rest + "far/"))
    assert made.run("init").exit_code == 0
    done = made.run("copies", "make", "--json")
    assert done.exit_code == 0, done
    (copy,) = done.document["copies"]
    assert (copy["missing"], copy["newest"] is not None) == ([], True)
    assert copy["copied"] > 0
    return made


def test_a_second_run_copies_nothing(copied: Deployment) -> None:
    done = copied.run("copies", "make", "--json")
    assert done.exit_code == 0, done
    assert done.document["copies"][0]["copied"] == 0


def test_a_restore_comes_from_the_copy_when_the_original_is_gone(
    copied: Deployment, tmp_path: Path
) -> None:
    alone = copied.copy(tmp_path / "alone")
    shutil.rmtree(alone.repository)
    shutil.rmtree(alone.state)
    done = alone.run("restore", "latest", "--target", str(tmp_path / "back"), "--json")
    assert done.exit_code == 0, done
    original = (copied.live / "config" / "nginx.conf").read_bytes()
    assert (tmp_path / "back" / "configs" / "nginx.conf").read_bytes() == original


def test_3_2_1_1_0_is_computed(copied: Deployment) -> None:
    told = checks_of(copied)
    assert told["copies"] == "proven"
    assert told["media"] == "proven"
    assert told["elsewhere"] == "proven"
    assert told["immutable"] == "failed"  # no lock is declared anywhere
    assert told["no-errors"] == "unproven"  # nothing was read back yet
    done = copied.run("verify", "--all", "--json")
    assert done.exit_code == 0, done
    assert all(one["coverage"]["verdict"] == "proven" for one in done.document["repositories"])
    assert checks_of(copied)["no-errors"] == "proven"
    listed = copied.run("ledger", "show", "--kind", "verification.done", "--json")
    assert len(listed.document["entries"]) == 3


def checks_of(deployment: Deployment) -> dict[str, str]:
    done = deployment.run("copies", "status", "--json")
    (plan,) = done.document["plans"]
    return {check["name"]: check["verdict"] for check in plan["checks"]}


def test_an_append_only_server_refuses_a_prune(copied: Deployment, rest: str) -> None:
    env = {"RESTIC_REPOSITORY": rest + "far/", "RESTIC_PASSWORD": PASSWORD}
    done = subprocess.run(
        [restic_program(), "forget", "--keep-last", "1", "--group-by", "", "--prune"],
        env=copied.variables(env | {"RESTIC_CACHE_DIR": str(copied.base / "cache")}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert copied.run("copies", "make").exit_code == 0


def test_damage_is_found_in_the_part_it_lies_in(point: Deployment) -> None:
    point.override("repositories: {primary: {verification: {parts: 2}}}")
    packs = [path for path in (point.repository / "data").rglob("*") if path.is_file()]
    worst = max(packs, key=lambda path: path.stat().st_size)
    flip(worst, 100)
    part = 1 + int(worst.name[:2], 16) % 2
    found = point.run("verify", "--all", "--json")
    assert (found.exit_code, found.document["verdict"]) == (1, "failed")
    read = {one["part"]: one["verdict"] for one in found.document["repositories"][0]["read"]}
    assert read == {part: "failed", 3 - part: "proven"}


def test_one_part_is_read_at_a_time(point: Deployment) -> None:
    point.override("repositories: {primary: {verification: {parts: 2}}}")
    first = point.run("verify", "--json").document["repositories"][0]
    assert ([one["part"] for one in first["read"]], first["coverage"]["read"]) == ([1], 1)
    assert first["coverage"]["verdict"] == "unproven"
    second = point.run("verify", "--json").document["repositories"][0]
    assert ([one["part"] for one in second["read"]], second["coverage"]["read"]) == ([2], 2)


def test_a_repository_that_cannot_be_read_proves_nothing(point: Deployment) -> None:
    point.repository.rename(point.base / "elsewhere")
    done = point.run("verify", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")


def test_copies_must_fit_the_policy(fresh: Deployment) -> None:
    fresh.override(
        """
        repositories:
          far: {url: ../../far, password: "file:../../secrets/password", copy_of: nowhere}
        plans: {nightly: {repositories: [primary, far]}}
        """
    )
    done = fresh.run("policy", "validate", "--json")
    assert done.exit_code == 2
    told = json.dumps(done.document)
    assert 'no \\"nowhere\\"' in told
    assert "not by backups" in told


def test_a_dry_run_tells_what_would_be_read(point: Deployment, tmp_path: Path) -> None:
    target = tmp_path / "back"
    done = point.run("restore", "latest", "--target", str(target), "--dry-run", "--json")
    assert done.exit_code == 0, done
    assert done.document["bytes"] > 0
    assert done.document["estimates"] == []  # no object store
    assert not target.exists()
    drill = point.run("drill", "--dry-run", "--json")
    assert drill.exit_code == 0, drill
    assert drill.document["bytes"] == done.document["bytes"]
