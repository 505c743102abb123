"""Scratch directories on this machine: fresh, private, and gone whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, RefusedError, UnavailableError
from llmvault.core.ids import RandomIds
from llmvault.drill.hosts.local import MARKER, PREFIX, LocalHost
from llmvault.drill.hosts.registry import build_host
from tests.unit.sources.conftest import open_folder, without_privileges
from tests.vault import write_tree

__all__ = ["open_folder"]
ROOT = Path(__file__).parents[4]


def host_at(base: Path, **live: Path) -> LocalHost:
    return LocalHost(base, RandomIds(), live)


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    return host_at(tmp_path / "made" / "scratch")


def test_a_scratch_directory_is_fresh_private_and_marked(host: LocalHost) -> None:
    with host.scratch("drill-1") as place:
        assert re.fullmatch(rf"{PREFIX}[0-9a-f]{{16}}", place.name)
        assert place.parent == host.base
        assert [path.name for path in place.iterdir()] == [MARKER]
        assert {p.stat().st_mode & 0o077 for p in (place, host.base, host.base.parent)} == {0}
        marker = (place / MARKER).read_text()
        assert marker == f"scratch of drill drill-1, process {os.getpid()}\n"
    assert list(host.base.iterdir()) == []


def test_it_is_destroyed_after_an_error(host: LocalHost) -> None:
    with pytest.raises(ZeroDivisionError), host.scratch("drill-1") as place:
        write_tree(place / "restored", {"a/b": b""})
        raise ZeroDivisionError
    assert not place.exists()


def test_two_drills_do_not_share(host: LocalHost) -> None:
    with host.scratch("drill-1") as one, host.scratch("drill-2") as other:
        assert one != other


def test_free_space_is_that_of_the_file_system(host: LocalHost) -> None:
    assert 0 < host.free_bytes() <= os.statvfs(host.base).f_bfree * os.statvfs(host.base).f_frsize


class TestRefusals:
    @pytest.mark.parametrize(
        ("base", "live"),
        [
            ("live", "live"),
            ("live/inner", "live"),
            (".", "live"),
            ("way/scratch", "live"),
            ("live", "way/inner"),
        ],
    )
    def test_a_place_that_touches_something_live(
        self, tmp_path: Path, base: str, live: str
    ) -> None:
        (tmp_path / "live").mkdir()
        (tmp_path / "way").symlink_to("live")
        host = host_at(tmp_path / base, models=tmp_path / live)
        with pytest.raises(RefusedError, match="overlaps with models"):
            host.free_bytes()
        with pytest.raises(RefusedError, match="overlaps with models"), host.scratch("drill-1"):
            pass
        assert list((tmp_path / "live").iterdir()) == []

    def test_beside_something_live_is_fine(self, tmp_path: Path) -> None:
        host = host_at(tmp_path / "models-scratch", models=tmp_path / "models")
        with host.scratch("drill-1") as place:
            assert place.is_dir()

    def test_a_base_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        host = host_at(tmp_path / "file")
        assert host.sweep() == ()
        with pytest.raises(UnavailableError), host.scratch("drill-1"):
            pass

    def test_a_base_that_cannot_be_written_to(self, open_folder: Path) -> None:
        (open_folder / "base").mkdir(mode=0o555)
        host = host_at(open_folder / "base")
        denied = pytest.raises(UnavailableError, match="Permission denied")
        with without_privileges(), denied, host.scratch("drill-1"):
            pass

    def test_an_unknown_host(self, tmp_path: Path) -> None:
        assert build_host("local", base=tmp_path, ids=RandomIds(), live={}).name == "local"
        with pytest.raises(PolicyError, match="there is no such scratch host"):
            build_host("moon", base=tmp_path, ids=RandomIds(), live={})


class TestDestruction:
    def test_restored_folders_without_permissions_are_removed(self, open_folder: Path) -> None:
        open_folder.chmod(0o777)
        with without_privileges(), host_at(open_folder / "scratch").scratch("drill-1") as place:
            root = write_tree(place / "restored", {"a/b/c": b"", "d": b""})
            for folder, mode in (("a/b", 0o000), ("a", 0o500), (".", 0o555)):
                (root / folder).chmod(mode)
        assert not place.exists()

    def test_links_are_never_followed(self, host: LocalHost, tmp_path: Path) -> None:
        outside = write_tree(tmp_path / "outside", {"mine": b"1"})
        with host.scratch("drill-1") as place:
            (place / "folder").symlink_to(outside)
            (place / "file").symlink_to(outside / "mine")
            (place / "restored").mkdir()
            (place / "restored" / "inner").symlink_to(outside)
        assert (outside / "mine").read_bytes() == b"1"

    def test_a_directory_that_lost_its_marker_is_left(self, host: LocalHost) -> None:
        with pytest.raises(RefusedError, match="no marker"), host.scratch("drill-1") as place:
            (place / MARKER).unlink()
        assert place.exists()


CHILD = """
import os, sys, time
from pathlib import Path
from llmvault.core.ids import RandomIds
from llmvault.drill.hosts.local import LocalHost
with LocalHost(Path(sys.argv[1]), RandomIds(), {}).scratch("drill-of-child") as place:
    (place / "restored" / "inner").mkdir(parents=True)
    (place / "restored" / "inner").chmod(0o500)
    (place / "restored").chmod(0o500)
    print(place.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def drilling(host: LocalHost) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a drill in another process, as far as its scratch directory goes."""
    argv = [sys.executable, "-c", CHILD, str(host.base)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as child:
        assert child.stdout
        yield child, child.stdout.readline().strip()
        child.kill()


class TestSweep:
    def test_what_a_killed_drill_left_is_swept(self, host: LocalHost) -> None:
        with drilling(host) as (child, name):
            assert host.sweep() == (), "it is alive"
            assert (host.base / name).is_dir()
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert (host.base / name).is_dir()
            assert host.sweep() == (name,)
        assert list(host.base.iterdir()) == []

    def test_a_running_drill_of_this_process_is_not_swept(self, host: LocalHost) -> None:
        with host.scratch("drill-1") as place:
            assert host.sweep() == ()
            assert place.is_dir()

    def test_without_a_base_there_is_nothing(self, host: LocalHost) -> None:
        assert host.sweep() == ()
        assert not host.base.exists()

    def test_only_name_and_marker_together_are_swept(self, host: LocalHost, tmp_path: Path) -> None:
        base = write_tree(
            host.base,
            {
                f"{PREFIX}without-marker/file": b"",
                f"other-name/{MARKER}": b"",
                f"{PREFIX}a-file": b"",
                f"{PREFIX}dead/{MARKER}": b"",
            },
        )
        real = write_tree(tmp_path / "real", {MARKER: b"", "mine": b""})
        (base / f"{PREFIX}link").symlink_to(real)
        (base / f"{PREFIX}linked-marker").mkdir()
        (base / f"{PREFIX}linked-marker" / MARKER).symlink_to(real / MARKER)
        (base / f"{PREFIX}folder-marker" / MARKER).mkdir(parents=True)
        before = {path.name for path in base.iterdir()}
        assert host.sweep() == (f"{PREFIX}dead",)
        assert {path.name for path in base.iterdir()} == before - {f"{PREFIX}dead"}
        assert {path.name for path in real.iterdir()} == {MARKER, "mine"}

    def test_a_sweep_that_died_is_finished_by_the_next(self, host: LocalHost) -> None:
        """The marker goes last, so what is left can still be told."""
        write_tree(host.base / f"{PREFIX}half", {MARKER: b""})
        assert host.sweep() == (f"{PREFIX}half",)
        assert list(host.base.iterdir()) == []
