"""What every snapshotter must do; bind it by subclassing in a ``test_*.py`` file.

    class TestBtrfs(SnapshotterContract):
        @pytest.fixture
        def example(self, tmp_path): return SnapshotterExample(BtrfsSnapshotter(...), ...)

The suite makes files below the example's directory, and expects no snapshot of ours afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, VaultError
from llmvault.snapshotters.interface import (
    PREFIX,
    Making,
    Snapshotter,
    SnapshotterPorts,
    Taken,
    Volume,
)
from llmvault.snapshotters.mounts import mount_of
from llmvault.snapshotters.view import hide


@dataclass
class SnapshotterExample:
    """A live filesystem that a snapshotter serves.

    Attributes:
        live: an empty directory at the top of it, or below.
        elsewhere: a directory on a filesystem that the driver does not serve.
        nested: a directory below `live` that is a volume of its own; None where there is no such.
        make_foreign: makes a snapshot as a user would, and returns its handle.
        existing: returns the handles of all snapshots that there are, a user's too.
        private: a directory for mount points.
        is_filesystem: whether this is one, rather than a copy that stands for one.
    """

    snapshotter: Snapshotter
    ports: SnapshotterPorts
    live: Path
    elsewhere: Path
    make_foreign: Callable[[], str]
    existing: Callable[[], set[str]]
    private: Path
    nested: Path | None = None
    is_filesystem: bool = True
    intended: list[str] = field(default_factory=list)

    @contextmanager
    def taken(self, run: str = "rp-1") -> Iterator[Taken]:
        """Take a snapshot of `live`, open what was taken, and destroy it afterwards."""
        place = self.private / run
        place.mkdir(parents=True)
        intended: list[str] = []

        def intend(handle: str) -> None:
            assert handle not in self.existing(), "it must be told before it is made"
            intended.append(handle)
            self.intended.append(handle)

        root = self.live.resolve()
        mount = mount_of(root, self.ports.mounts())
        volume = Volume(self.snapshotter.top(root, mount), mount, (root,))
        with ExitStack() as opened:
            try:
                taken = self.snapshotter.take([volume], Making(f"{PREFIX}{run}", place, intend))
                for part in taken.parts:
                    opened.callback(os.close, os.open(part.path, os.O_RDONLY))
                yield taken
            finally:
                opened.close()
                hide(place, self.ports)
                for handle in reversed(intended):
                    self.snapshotter.destroy(handle)

    def place(self, taken: Taken, top: Path | None = None) -> Path:
        """Return where `live`, or a nested volume, is seen."""
        wanted = (top or self.live).resolve()
        part = max(
            (part for part in taken.parts if wanted.is_relative_to(part.top)),
            key=lambda part: len(part.top.parts),
        )
        return part.path / wanted.relative_to(part.top)


class SnapshotterContract:
    """The suite. A subclass supplies ``example``."""

    @pytest.fixture
    def example(self) -> SnapshotterExample:
        """Return a live filesystem."""
        raise NotImplementedError

    def test_it_claims_its_own_mounts_and_no_others(self, example: SnapshotterExample) -> None:
        mounts = example.ports.mounts()
        claims = example.snapshotter.claims
        assert claims(mount_of(example.live.resolve(), mounts)) == ""
        assert claims(mount_of(example.elsewhere.resolve(), mounts))

    def test_a_snapshot_shows_what_was_there(self, example: SnapshotterExample) -> None:
        file = example.live / "folder" / "weights.bin"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"as it was")
        with example.taken() as taken:
            file.write_bytes(b"as it is now")
            (example.live / "new").write_bytes(b"x")
            seen = example.place(taken)
            assert (seen / "folder" / "weights.bin").read_bytes() == b"as it was"
            assert not (seen / "new").exists()
        assert file.read_bytes() == b"as it is now"

    def test_unchanged_files_look_the_same_in_it(self, example: SnapshotterExample) -> None:
        """By size, times and inode, for these decide whether a file is read again."""
        file = example.live / "weights.bin"
        file.write_bytes(b"w" * 100_000)
        os.link(file, example.live / "link")
        (example.live / "symlink").symlink_to("weights.bin")
        live = file.stat()
        for run in ("rp-1", "rp-2"):
            with example.taken(run) as taken:
                seen = (example.place(taken) / "weights.bin").stat()
                assert (example.place(taken) / "symlink").readlink() == Path("weights.bin")
            assert (seen.st_size, seen.st_mtime_ns) == (live.st_size, live.st_mtime_ns)
            if example.is_filesystem:
                assert (seen.st_ctime_ns, seen.st_ino) == (live.st_ctime_ns, live.st_ino)

    def test_it_cannot_be_written_to(self, example: SnapshotterExample) -> None:
        if not example.is_filesystem:
            pytest.skip("this one is no filesystem")
        (example.live / "file").write_bytes(b"x")
        with example.taken() as taken, pytest.raises(OSError, match="Read-only"):
            (example.place(taken) / "file").write_bytes(b"y")

    def test_nothing_is_left_of_it(self, example: SnapshotterExample) -> None:
        before = example.existing()
        with example.taken():
            assert example.existing() > before
        assert example.existing() == before

    def test_it_has_the_name_of_its_run(self, example: SnapshotterExample) -> None:
        with example.taken("rp-1"):
            made = example.existing() & set(example.intended)
            assert made
            assert all(f"{PREFIX}rp-1" in handle for handle in made)

    def test_two_runs_at_once_have_snapshots_of_their_own(
        self, example: SnapshotterExample
    ) -> None:
        file = example.live / "file"
        file.write_bytes(b"first")
        with example.taken("rp-1") as first:
            file.write_bytes(b"second")
            with example.taken("rp-2") as second:
                assert (example.place(second) / "file").read_bytes() == b"second"
                assert (example.place(first) / "file").read_bytes() == b"first"
            assert (example.place(first) / "file").read_bytes() == b"first"

    def test_destroying_what_is_gone_is_no_error(self, example: SnapshotterExample) -> None:
        with example.taken():
            pass
        for handle in example.intended:
            example.snapshotter.destroy(handle)

    def test_a_users_snapshot_is_never_destroyed(self, example: SnapshotterExample) -> None:
        handle = example.make_foreign()
        with pytest.raises(RefusedError, match="not one of ours"):
            example.snapshotter.destroy(handle)
        with example.taken():
            pass
        assert handle in example.existing()

    def test_a_directory_that_is_no_volume_is_never_destroyed(
        self, example: SnapshotterExample
    ) -> None:
        for word in (str(example.live), "", "/", "pool", "vg/lv", str(example.elsewhere)):
            with pytest.raises(VaultError):
                example.snapshotter.destroy(word)
        assert example.live.is_dir()

    def test_what_is_nested_gets_its_own_snapshot(self, example: SnapshotterExample) -> None:
        if example.nested is None:
            pytest.skip("nothing nests here")
        (example.nested / "inner").write_bytes(b"as it was")
        with example.taken() as taken:
            (example.nested / "inner").write_bytes(b"as it is now")
            seen = example.place(taken, example.nested)
            assert (seen / "inner").read_bytes() == b"as it was"

    def test_its_facts_are_told(self, example: SnapshotterExample) -> None:
        with example.taken() as taken:
            facts = [dict(part.facts) for part in taken.parts]
        assert all(one.get("snapshot") for one in facts), facts
