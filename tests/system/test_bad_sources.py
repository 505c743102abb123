"""Sources that are wrong: every backup says so, by name, and none is green."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.deployment import HUB_REPOSITORY, Completed, Deployment, write_hub

pytestmark = pytest.mark.system

WITHOUT_GOLDENS = "plans: {nightly: {drill: {goldens: [], engines: []}}}"
ONLY_MODEL = """
    plans: {nightly: {sources: [model], drill: {goldens: [], engines: []}}}
"""


@pytest.fixture
def plain(fresh: Deployment) -> Deployment:
    """A deployment whose backups ask no model anything."""
    fresh.override(WITHOUT_GOLDENS)
    return fresh


def reason_of(done: Completed, source: str) -> tuple[str, str]:
    """Return a source's verdict and reason."""
    found = done.named("sources", source)
    return found["verdict"], found["reason"]


def weights(plain: Deployment) -> Path:
    """Return a safetensors file of the deployment."""
    return plain.live / "model" / "model-00001-of-00002.safetensors"


def truncate_safetensors(plain: Deployment) -> None:
    path = weights(plain)
    os.truncate(path, path.stat().st_size - 100)


def overlap_tensors(plain: Deployment) -> None:
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    header += b'"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
    weights(plain).write_bytes(struct.pack("<Q", len(header)) + header + bytes(12))


def claim_a_huge_header(plain: Deployment) -> None:
    weights(plain).write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def spoil_gguf(plain: Deployment) -> None:
    path = plain.live / "model" / "language.gguf"
    content = path.read_bytes()
    path.write_bytes(content[:8] + struct.pack("<Q", 1 << 50) + content[16:])


def cut_gguf(plain: Deployment) -> None:
    os.truncate(plain.live / "model" / "language.gguf", 200_000)


def lose_a_shard(plain: Deployment) -> None:
    weights(plain).unlink()


@pytest.mark.parametrize(
    ("spoil", "name", "cause"),
    [
        (truncate_safetensors, "model-00001-of-00002.safetensors", "bytes"),
        (overlap_tensors, "model-00001-of-00002.safetensors", "overlap"),
        (claim_a_huge_header, "model-00001-of-00002.safetensors", "header"),
        (spoil_gguf, "language.gguf", ""),
        (cut_gguf, "language.gguf", "only 194,208 are there"),
        (lose_a_shard, "model-00001-of-00002.safetensors", ""),
    ],
)
def test_weights_that_are_broken_at_the_source_fail_the_backup(
    plain: Deployment, spoil: Callable[[Deployment], None], name: str, cause: str
) -> None:
    spoil(plain)
    done = plain.run("backup", "--json")
    verdict, reason = reason_of(done, "model")
    assert (done.exit_code, done.document["verdict"], verdict) == (1, "failed", "failed")
    assert name in reason
    assert cause in reason
    assert reason_of(done, "configs")[0] == "proven"


def test_a_broken_recovery_point_is_never_drilled_to_proven(fresh: Deployment) -> None:
    truncate_safetensors(fresh)
    assert fresh.run("backup").exit_code == 1
    drill = fresh.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (1, "failed")
    assert "model-00001-of-00002.safetensors" in drill.bad()[("recovery-point", "")][1]
    assert fresh.run("status").exit_code == 1


@pytest.fixture
def hub(plain: Deployment) -> tuple[Deployment, str]:
    """A deployment whose only source is a hub cache, and the commit in it."""
    commit = write_hub(plain.live / "hub", plain.base / "upload")
    _pin(plain, commit)
    return plain, commit


def _pin(deployment: Deployment, commit: str) -> None:
    deployment.override(
        f"""
        sources:
          hub:
            kind: hf_cache
            path: ../../live/hub
            models: [{{repo: {HUB_REPOSITORY}, revision: {commit}}}]
        plans: {{nightly: {{sources: [hub], drill: {{goldens: [], engines: []}}}}}}
        """
    )


def test_a_pinned_commit_that_is_absent_fails(hub: tuple[Deployment, str]) -> None:
    deployment, commit = hub
    absent = "0123456789" * 4
    _pin(deployment, absent)
    done = deployment.run("backup", "--json")
    verdict, reason = reason_of(done, "hub")
    assert (done.exit_code, done.document["verdict"], verdict) == (1, "failed", "failed")
    assert absent in reason
    assert commit in reason
    assert f"hf download {HUB_REPOSITORY} --revision {absent}" in reason


def test_a_blob_that_is_gone_is_named(hub: tuple[Deployment, str]) -> None:
    deployment, commit = hub
    snapshot = deployment.live / "hub" / "models--acme--tiny-llama" / "snapshots" / commit
    (snapshot / "model.safetensors").resolve().unlink()
    done = deployment.run("backup", "--json")
    verdict, reason = reason_of(done, "hub")
    assert (done.exit_code, verdict) == (1, "failed")
    assert f"snapshots/{commit}/model.safetensors" in reason
    assert "blob" in reason


def test_a_blob_that_is_not_what_its_name_says(hub: tuple[Deployment, str]) -> None:
    deployment, commit = hub
    snapshot = deployment.live / "hub" / "models--acme--tiny-llama" / "snapshots" / commit
    blob = (snapshot / "model.safetensors").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    done = deployment.run("backup", "--json")
    verdict, reason = reason_of(done, "hub")
    assert (done.exit_code, verdict) == (1, "failed")
    assert blob.name in reason


def test_a_missing_path_is_unproven(plain: Deployment) -> None:
    shutil.rmtree(plain.live / "model")
    done = plain.run("backup", "--json")
    verdict, reason = reason_of(done, "model")
    assert (done.exit_code, done.document["verdict"], verdict) == (3, "unproven", "unproven")
    assert f"{plain.base.resolve()}/live/model" in reason
    assert reason_of(done, "configs")[0] == "proven"
    people = plain.run("backup")
    assert people.exit_code == 3
    assert "unproven" in people.stdout
    drill = plain.run("drill", "--json")
    assert drill.exit_code == 3
    assert "live/model" in drill.bad()[("recovery-point", "")][1]


def test_an_empty_source_is_unproven(plain: Deployment) -> None:
    plain.override(ONLY_MODEL)
    shutil.rmtree(plain.live / "model")
    (plain.live / "model" / "empty").mkdir(parents=True)
    done = plain.run("backup", "--json")
    verdict, reason = reason_of(done, "model")
    assert (done.exit_code, done.document["verdict"], verdict) == (3, "unproven", "unproven")
    assert "no file" in reason or "no model" in reason
    assert plain.run("drill").exit_code == 3
    assert plain.run("status").exit_code == 3


def test_a_part_of_the_plan_is_never_the_whole(plain: Deployment) -> None:
    done = plain.run("backup", "--source", "configs", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    assert "only some of the plan's sources" in done.bad()[("complete", "")][1]
    unknown = plain.run("backup", "--source", "config", "--json")
    assert unknown.exit_code == 2
    assert unknown.error["thing"] == 'source "config"'


def without_root_rights() -> tuple[str, ...]:
    """Return a prefix under which modes bind root too; nothing when we are not root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("not run: root reads everything, and there is no setpriv to change that")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search", "--")


def test_a_file_that_must_not_be_read_is_named(plain: Deployment) -> None:
    secret = plain.live / "model" / "notes.dat"
    secret.write_text("private")
    secret.chmod(0)
    closed = plain.live / "config" / "closed"
    closed.mkdir()
    (closed / "inside").write_text("x")
    closed.chmod(0)
    try:
        done = plain.run("backup", "--json", prefix=without_root_rights())
    finally:
        closed.chmod(0o755)
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    verdict, reason = reason_of(done, "model")
    assert verdict == "unproven"
    assert "notes.dat" in reason
    assert "ermission denied" in reason
    verdict, reason = reason_of(done, "configs")
    assert verdict == "unproven"
    assert "closed" in reason
    again = plain.run("backup", "--json", prefix=without_root_rights())
    assert again.exit_code == 3
    assert "notes.dat" in reason_of(again, "model")[1]
    secret.chmod(0o600)
    assert plain.run("backup", "--json").exit_code == 0


WRITER = """
import sys, time
with open(sys.argv[1], "ab", buffering=0) as stream:
    while True:
        stream.write(b"x" * 4096)
        time.sleep(0.002)
"""


def test_a_file_that_changes_while_it_is_read_is_named(plain: Deployment) -> None:
    path = plain.live / "model" / "growing.dat"
    path.write_bytes(os.urandom(48 << 20))
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        try:
            time.sleep(0.2)
            done = plain.run("backup", "--json")
        finally:
            writer.kill()
    verdict, reason = reason_of(done, "model")
    assert (done.exit_code, verdict) == (3, "unproven")
    assert "changed while read: growing.dat" in reason
    assert plain.run("drill").exit_code in (1, 3)
    still = plain.run("backup", "--json")
    assert (still.exit_code, still.document["verdict"]) == (0, "proven")


def test_odd_files_come_back_as_they_were(fresh: Deployment) -> None:
    folder = fresh.live / "model" / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        _write_odd_files(folder)
        backup = fresh.run("backup", "--json")
        assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
        drill = fresh.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (0, "proven"), drill
    target = fresh.base / "out"
    assert fresh.run("restore", "latest", "--target", str(target)).exit_code == 0
    restored = target / "model" / "odd"
    names = {path.name for path in folder.iterdir()} - {"socket"}
    assert {path.name for path in restored.iterdir()} == names
    assert (restored / "pipe").is_fifo()
    sparse = restored / "sparse"
    assert sparse.stat().st_size == 64 << 20
    assert sparse.stat().st_blocks * 512 < 4 << 20
    assert (restored / "one").read_bytes() == (restored / "two").read_bytes() == b"linked"
    assert (restored / "empty").stat().st_size == 0
    assert (restored / "dangling").readlink() == Path("nowhere")
    assert (restored / "loop").readlink() == Path("..")
    assert (restored / os.fsdecode(b"caf\xe9.txt")).read_text() == "latin-1"
    shown = fresh.run("recovery-points", "show", "latest")
    assert shown.exit_code == 0


def _write_odd_files(folder: Path) -> None:
    with (folder / "sparse").open("wb") as stream:
        stream.truncate(64 << 20)
        stream.seek(32 << 20)
        stream.write(b"an island")
    (folder / "empty").touch()
    (folder / "one").write_bytes(b"linked")
    (folder / "two").hardlink_to(folder / "one")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("latin-1")
    (folder / os.fsdecode(b"\xff\xfe")).write_text("no text at all")
    (folder / ("long" * 63)).write_text("252 bytes of name")
    (folder / "line\nend \t* ? [x] $HOME \\ \u202e").write_text("special to shells")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("..")
    deep = folder.joinpath(*(["d" * 200] * 12))
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("deep")
    (folder / "modes").write_text("x")
    (folder / "modes").chmod(0o4751)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list\n", "the file should be a mapping"),
        ("sorces: {}\n", 'did you mean "sources"?'),
        ("plans:\n  p: {}\n  p: {}\n", "is there twice; the first is on line 2"),
        ("sources:\n\tmodel: {}\n", "a tab; YAML is indented with spaces only"),
    ],
)
def test_a_wrong_policy_file_touches_nothing(fresh: Deployment, text: str, message: str) -> None:
    (fresh.policies / "wrong.yaml").write_text(text)
    before = sorted(fresh.base.rglob("*"))
    for arguments in (["backup"], ["drill"], ["restore", "latest", "--target", "/nowhere/x"]):
        done = fresh.run(*arguments, "--json")
        assert done.exit_code == 2
        problems = {problem["message"]: problem for problem in done.error["problems"]}
        (told,) = [text for text in problems if message in text]
        assert problems[told]["file"].endswith("/wrong.yaml")
        assert problems[told]["line"] in (1, 2, 3)
    people = fresh.run("backup")
    assert (people.exit_code, people.stdout) == (2, "")
    assert message in people.stderr
    assert sorted(fresh.base.rglob("*")) == before


def test_a_plan_that_does_not_exist(fresh: Deployment) -> None:
    for command in ("backup", "drill"):
        done = fresh.run(command, "nigthly", "--json")
        assert done.exit_code == 2
        assert done.error["thing"] == 'plan "nigthly"'
        assert "nightly" in done.error["next_step"]
