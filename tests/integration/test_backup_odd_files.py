"""Names, kinds and changes that a tree may hold, through restic and back."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from llmvault.core.verdict import Verdict
from llmvault.recovery_points.model import Manifest
from tests.fakes.sources import FolderSource
from tests.vault import Vault, write_tree

pytestmark = pytest.mark.integration

NOT_UTF8 = os.fsdecode(b"n\xff\xfe.bin")
ODD_NAMES = [
    "plain",
    "with space",
    " leading",
    "trailing ",
    "#comment",
    "!not",
    "[class]",
    "star*",
    "what?",
    "back\\slash",
    "$HOME",
    "${x}",
    "$$",
    "tab\tbed",
    "line\nend",
    "end\n",
    "end\r",
    "-dash",
    "{a,b}",
    "~",
    "'quote\"",
    "é",
    "\u3000",
    NOT_UTF8,
    os.fsdecode(b"\xa0"),
    "x" * 255,
]


def taken(vault: Vault, source: FolderSource, *, verdict: Verdict = Verdict.PROVEN) -> Manifest:
    """Back one folder up and return the manifest."""
    vault.add(source)
    result, manifest = vault.backup()
    assert result.verdict is verdict, result.sources
    return manifest


def kinds(manifest: Manifest) -> dict[str, str]:
    (files,) = manifest.files.values()
    return {record.path: record.kind for record in files}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def reason(manifest: Manifest) -> str:
    (source,) = manifest.sources
    return source.reason


def test_every_kind_of_file_comes_back(vault: Vault, tmp_path: Path) -> None:
    root = write_tree(
        tmp_path / "live", {name: name.encode("utf-8", "replace") for name in ODD_NAMES}
    )
    (root / "empty").touch()
    (root / "empty folder").mkdir(mode=0o750)
    (root / "one").write_bytes(b"linked")
    (root / "two").hardlink_to(root / "one")
    (root / "link").symlink_to(NOT_UTF8)
    (root / "dangling").symlink_to("nowhere")
    with (root / "sparse").open("wb") as stream:
        stream.truncate(8 << 20)
    os.mkfifo(root / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        manifest = taken(vault, FolderSource("odd", root))
    found = kinds(manifest)
    assert found.keys() == names_in(root) - {"socket"}
    assert {found["fifo"], found["link"], found["empty folder"]} == {"fifo", "symlink", "dir"}

    restored = vault.restore(tmp_path / "restored")
    assert restored.verdict is Verdict.PROVEN, restored.checks
    back = tmp_path / "restored" / "odd"
    assert names_in(back) == found.keys()
    assert (back / "sparse").stat().st_blocks * 512 < 1 << 20
    assert (back / "one").stat().st_ino == (back / "two").stat().st_ino
    assert (back / "link").readlink() == Path(NOT_UTF8)


def test_each_odd_name_is_left_out_alone(vault: Vault, tmp_path: Path) -> None:
    """One folder per name; in it the name and near ones, of which only the name is excluded."""
    root = tmp_path / "live"
    for number, name in enumerate(ODD_NAMES):
        folder = root / str(number)
        folder.mkdir(parents=True)
        for other in {name, f"{name[:200]}x", name.replace("\n", "N"), name.replace(" ", "_")}:
            (folder / other).write_bytes(b"content")
    patterns = tuple(f"{number}/{_fnmatch_literal(name)}" for number, name in enumerate(ODD_NAMES))
    manifest = taken(vault, FolderSource("odd", root, exclude=patterns))
    for number, name in enumerate(ODD_NAMES):
        assert f"{number}/{name}" not in kinds(manifest)
    assert len(manifest.files["odd"]) > 2 * len(ODD_NAMES)
    target = tmp_path / "restored"
    checks = {check.name: check for check in vault.restore(target).checks}
    assert checks["tree"].verdict is checks["digests"].verdict is Verdict.PROVEN, checks


def _fnmatch_literal(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def test_exclusions_hold_behind_a_symbolic_link(vault: Vault, tmp_path: Path) -> None:
    write_tree(tmp_path / "real", {"kept": b"1", "left/out": b"2"})
    (tmp_path / "live").symlink_to("real")
    manifest = taken(vault, FolderSource("linked", tmp_path / "live", exclude=("left",)))
    assert kinds(manifest) == {"kept": "file"}


@pytest.mark.parametrize("inner", [".", "inner"])
def test_a_source_without_files_is_unproven(vault: Vault, tmp_path: Path, inner: str) -> None:
    (tmp_path / "live" / inner).mkdir(parents=True)
    manifest = taken(vault, FolderSource("empty", tmp_path / "live"), verdict=Verdict.UNPROVEN)
    assert "there is no file to back up" in reason(manifest)


def test_a_missing_source_is_unproven(vault: Vault, tmp_path: Path) -> None:
    manifest = taken(vault, FolderSource("gone", tmp_path / "absent"), verdict=Verdict.UNPROVEN)
    assert "is no directory" in reason(manifest)
    assert manifest.source("gone").snapshots == {}


def test_a_source_that_vanishes_is_unproven(vault: Vault, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "live", {"file": b"1"})
    source = FolderSource("gone", root, during=lambda: shutil.rmtree(root))
    manifest = taken(vault, source, verdict=Verdict.UNPROVEN)
    assert manifest.source("gone").snapshots == {}
    assert "restic: cannot be started" in reason(manifest)


@pytest.mark.parametrize("change", ["write", "touch", "remove", "add", "add a folder"])
def test_a_tree_that_changes_while_it_is_read_is_unproven(
    vault: Vault, tmp_path: Path, change: str
) -> None:
    root = write_tree(tmp_path / "live", {"inner/file": b"1", "other": os.urandom(1 << 20)})
    changes: dict[str, Callable[[], object]] = {
        "write": lambda: (root / "inner" / "file").write_bytes(b"2"),
        "touch": lambda: (root / "inner" / "file").touch(),
        "remove": lambda: (root / "inner" / "file").unlink(),
        "add": lambda: (root / "inner" / "new").write_bytes(b"1"),
        "add a folder": lambda: (root / "new").mkdir(),
    }
    with _when_read(vault, changes[change]):
        manifest = taken(vault, FolderSource("live", root), verdict=Verdict.UNPROVEN)
    path = {"add": "inner/new", "add a folder": "new"}.get(change, "inner/file")
    assert f"1 changed while read: {path}" in reason(manifest)
    assert taken(vault, FolderSource("live", root)).files["live"], "the next one is proven"


def test_excluded_names_may_come_and_go(vault: Vault, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "live", {"file": b"1", "inner/file": b"1"})
    with _when_read(vault, lambda: (root / "inner" / "a.lock").touch()):
        taken(vault, FolderSource("live", root, exclude=("*.lock",)))


@contextmanager
def _when_read(vault: Vault, happen: Callable[[], object]) -> Iterator[None]:
    """Let something happen to the tree after restic has read it, before it is looked at again."""
    program, mark = vault.base / "bin" / "restic", vault.base / "read"
    real = shutil.which("restic", path=vault.environment["PATH"])
    program.parent.mkdir(parents=True)
    program.write_text(
        f"""#!/bin/sh
        case " $* " in *" --no-scan "*) ;; *) exec "{real}" "$@";; esac
        "{real}" "$@"; code=$?
        touch "{mark}"
        while [ -e "{mark}" ]; do sleep 0.02; done
        exit $code
        """
    )
    program.chmod(0o755)
    before = vault.environment["PATH"]
    vault.environment["PATH"] = f"{program.parent}:{before}"
    vault.add_repository()

    def wait() -> None:
        while not mark.exists():
            time.sleep(0.01)
        happen()
        mark.unlink()

    watcher = Thread(target=wait, daemon=True)
    watcher.start()
    yield
    watcher.join(20)
    vault.environment["PATH"] = before
    vault.add_repository()


UNREADABLE = """
from pathlib import Path
from tests.fakes.sources import FolderSource
from tests.vault import Vault, write_tree
import sys
base = Path(sys.argv[1])
root = write_tree(base / "live", {"good": b"1", "bad": b"2", "closed/inside": b"3"})
vault = Vault(base / "vault")
vault.add_repository()
vault.add(FolderSource("live", root))
(root / "bad").chmod(0)
(root / "closed").chmod(0)
result, manifest = vault.backup()
(root / "closed").chmod(0o700)
print(result.verdict, len(manifest.source("live").snapshots), result.sources[0].reason)
"""


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    program = [sys.executable, "-c", UNREADABLE, str(tmp_path)]
    if os.geteuid() == 0:
        program = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *program]
    folder = Path(__file__).parents[2]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verdict, snapshots, *reason = done.stdout.split(maxsplit=2)
    assert (verdict, snapshots) == ("unproven", "1"), "the rest is stored"
    assert reason[0] == "2 not read: bad (Permission denied), closed (Permission denied)\n"


def test_claims_of_a_source_are_compared(vault: Vault, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "live", {"blob": b"1"})
    source = FolderSource("cache", root, known_sha256={"blob": "ab" * 32})
    manifest = taken(vault, source, verdict=Verdict.FAILED)
    assert "content does not match its recorded SHA-256: blob" in reason(manifest)
