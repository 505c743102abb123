"""The machine is lost, and its repository is on a server: recovered from address and password."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD, write_quick_repository
from tests.stores import Store, running_rest_server
from tests.system.deployment import Deployment
from tests.system.test_recover import done

pytestmark = pytest.mark.system


def lost_and_found(
    machine: Deployment, address: str, variables: Mapping[str, str], references: str = "{}"
) -> None:
    """Back up to an address, lose the machine, recover from the address, and drill."""
    machine.override(
        f"repositories: {{primary: {{url: '{address}', environment: {references}}}}}", "server"
    )
    shutil.rmtree(machine.repository)
    done(machine.run("init", "--json", more=variables))
    done(machine.run("backup", "--json", more=variables))
    newest = done(machine.run("ledger", "checkpoint", "--json", more=variables)).document
    entries = machine.run("ledger", "show", "--json").document["entries"]
    policy = (machine.policies / "policy.yaml").read_bytes()
    for place in (machine.state, machine.policies, machine.live, machine.base / "secrets"):
        shutil.rmtree(place)
    pinned = machine.base / "kept-outside"
    pinned.write_text(newest["checkpoint"])

    where = ("--repository", address, "--password", "env:PW", "--pinned", str(pinned))
    back = machine.run("init", "--recover", *where, "--json", more={**variables, "PW": PASSWORD})
    assert done(back).document["verdict"] == "proven"
    assert (machine.policies / "policy.yaml").read_bytes() == policy
    shown = machine.run("ledger", "show", "--json").document["entries"]
    assert shown[: len(entries)] == entries
    (machine.base / "secrets").mkdir()
    (machine.base / "secrets" / "password").write_text(PASSWORD)
    listed = machine.run("recovery-points", "list", "--json").document["recovery_points"]
    assert [one["verdict"] for one in listed] == ["proven"]
    drill = done(machine.run("drill", "--json", more=variables)).document
    assert drill["verdict"] == "proven"
    verified = done(machine.run("ledger", "verify", "--json", more=variables))
    assert verified.document["verdict"] == "proven"


def test_from_an_append_only_server(fresh: Deployment, tmp_path: Path) -> None:
    write_quick_repository(tmp_path / "server" / "data")
    with running_rest_server(tmp_path / "server") as address:
        lost_and_found(fresh, address, {})


def test_from_an_object_store(fresh: Deployment, rclone: Store, tmp_path: Path) -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": rclone.keys.access,
        "AWS_SECRET_ACCESS_KEY": rclone.keys.secret,
    }
    bucket, made = rclone.bucket("recovered"), write_quick_repository(tmp_path / "made")
    bucket.create(lock=False)
    for path in (path for path in made.rglob("*") if path.is_file()):
        bucket.put(f"standard/{path.relative_to(made)}", path.read_bytes())
    references = "{" + ", ".join(f"{name}: 'env:{name}'" for name in variables) + "}"
    lost_and_found(fresh, f"s3:{rclone.endpoint}/recovered/standard", variables, references)
