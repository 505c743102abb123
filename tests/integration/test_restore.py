"""Bringing recovery points back from real repositories, whole and damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, RefusedError, UnavailableError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.restore.model import RestoreResult
from llmvault.sources.interface import CollectionFacts
from tests.fakes.sources import STREAM, FolderSource, StreamSource
from tests.vault import Vault, flip, write_tree

pytestmark = pytest.mark.integration

WEIGHTS = os.urandom(2 << 20)
FILES = {"weights.bin": WEIGHTS, "inner/config.json": b"{}", "inner/more.json": b"[]"}
DATABASE = (CollectionFacts("passages", 3, 2),)


@pytest.fixture
def live(vault: Vault, tmp_path: Path) -> Path:
    """A folder and a stream, and what a backup of them needs."""
    root = write_tree(tmp_path / "live", FILES)
    (root / "link").symlink_to("weights.bin")
    database = StreamSource("database", [b"dump"], collections=DATABASE)
    vault.add(FolderSource("models", root), database)
    return root


@pytest.fixture
def taken(vault: Vault, live: Path) -> str:
    """The id of a proven recovery point of both."""
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    return manifest.id


def bad(result: RestoreResult) -> dict[tuple[str, str], Check]:
    """Return the checks that are not proven."""
    return {(c.source, c.name): c for c in result.checks if c.verdict is not Verdict.PROVEN}


def damage(vault: Vault, name: str = "primary") -> None:
    """Flip a byte in the middle of the largest pack: among the weights."""
    pack = vault.packs(name)[0]
    flip(pack, pack.stat().st_size // 2)


def test_everything_comes_back_and_every_byte_is_verified(
    vault: Vault, taken: str, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "place"
    result = vault.restore(target)
    assert (result.verdict, result.recovery_point) == (Verdict.PROVEN, taken)
    names = {(check.source, check.name) for check in result.checks}
    assert names == {
        ("models", "digests"),
        ("models", "tree"),
        ("models", "structure"),
        ("database", "digests"),
        ("database", "tree"),
        ("database", "archive"),
    }
    assert (target / "models" / "weights.bin").read_bytes() == WEIGHTS
    assert (target / "models" / "link").readlink() == Path("weights.bin")
    assert (target / "database" / STREAM).read_bytes() == b"dump"
    assert target.stat().st_mode & 0o777 == 0o700
    assert {one.source: (one.files, one.bytes) for one in result.fetched} == {
        "models": (3, len(WEIGHTS) + 4),
        "database": (1, 4),
    }


def test_it_needs_nothing_but_the_repository(vault: Vault, taken: str, tmp_path: Path) -> None:
    shutil.rmtree(vault.state)
    vault.sources.clear()
    result = vault.restore(tmp_path / "restored", taken)
    assert result.verdict is Verdict.PROVEN
    assert {check.name for check in result.checks} == {"digests", "tree"}


def test_one_source_alone(vault: Vault, taken: str, tmp_path: Path) -> None:
    result = vault.restore(tmp_path / "restored", sources=["database", "database"])
    assert [one.source for one in result.fetched] == ["database"]
    assert [path.name for path in (tmp_path / "restored").iterdir()] == ["database"]


def test_a_damaged_pack_fails_and_names_the_file(vault: Vault, taken: str, tmp_path: Path) -> None:
    damage(vault)
    result = vault.restore(tmp_path / "restored")
    assert result.verdict is Verdict.FAILED
    found = bad(result)
    assert {source for source, _ in found} == {"models"}
    assert "weights.bin: " in found["models", "restore"].detail
    assert "weights.bin: " in found["models", "digests"].detail
    assert (tmp_path / "restored/models/inner/config.json").read_bytes() == b"{}"


def test_what_is_damaged_in_one_repository_comes_from_the_other(
    vault: Vault, live: Path, tmp_path: Path
) -> None:
    vault.add_repository("second")
    vault.backup()
    damage(vault)
    result = vault.restore(tmp_path / "restored")
    assert result.verdict is Verdict.PROVEN
    assert (tmp_path / "restored/models/weights.bin").read_bytes() == WEIGHTS


def test_a_repository_without_its_packs_is_passed_over(
    vault: Vault, live: Path, tmp_path: Path
) -> None:
    vault.add_repository("second")
    _, manifest = vault.backup()
    shutil.rmtree(vault.place() / "data")
    shutil.rmtree(vault.base / "cache")
    assert vault.restore(tmp_path / "restored", manifest.id).verdict is Verdict.PROVEN


def test_what_could_be_saved_is_kept_when_the_other_repository_is_gone(
    vault: Vault, live: Path, tmp_path: Path
) -> None:
    vault.add_repository("second")
    vault.backup()
    damage(vault)
    shutil.rmtree(vault.place("second"))
    result = vault.restore(tmp_path / "restored", sources=["models"])
    assert result.verdict is Verdict.FAILED
    assert (tmp_path / "restored/models/inner/config.json").read_bytes() == b"{}"


def test_an_absent_repository_tells_why(vault: Vault, taken: str, tmp_path: Path) -> None:
    shutil.rmtree(vault.place())
    with pytest.raises(UnavailableError, match="there is no repository"):
        vault.restore(tmp_path / "restored")
    with pytest.raises(UnavailableError, match="there is no repository"):
        vault.restore(tmp_path / "restored", taken)


def test_an_unknown_point_tells_why(vault: Vault, taken: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="rp-unknown: no repository has it"):
        vault.restore(tmp_path / "restored", "rp-unknown")
    assert not (tmp_path / "restored").exists()


def test_a_damaged_manifest_is_not_replaced_by_an_older_one(
    vault: Vault, taken: str, tmp_path: Path
) -> None:
    packs = set(vault.packs())
    vault.backup()
    shutil.rmtree(vault.base / "cache")
    for pack in set(vault.packs()) - packs:
        flip(pack, pack.stat().st_size // 3)
    with pytest.raises(UnavailableError, match="primary"):
        vault.restore(tmp_path / "restored")
    assert vault.restore(tmp_path / "older", taken).verdict is Verdict.PROVEN


def test_sources_that_were_not_stored_are_named(vault: Vault, live: Path, tmp_path: Path) -> None:
    shutil.rmtree(live)
    vault.backup()
    with pytest.raises(UnavailableError, match=r'source "models" .* it was not stored'):
        vault.restore(tmp_path / "restored")
    assert vault.restore(tmp_path / "part", sources=["database"]).verdict is Verdict.PROVEN


class TestRefusals:
    """Nothing is touched when the target is not fresh, or overlaps with something live."""

    def refused(
        self, vault: Vault, target: Path, match: str, *, live: Mapping[str, Path] | None = None
    ) -> None:
        with pytest.raises(RefusedError, match=match):
            vault.restore(target, live=live)

    def test_a_target_that_is_not_empty(self, vault: Vault, taken: str, tmp_path: Path) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "mine").touch()
        self.refused(vault, tmp_path / "target", r"it is not empty \(1 entries\)")
        assert [path.name for path in (tmp_path / "target").iterdir()] == ["mine"]

    def test_a_target_that_is_a_file(self, vault: Vault, taken: str, tmp_path: Path) -> None:
        (tmp_path / "target").touch()
        self.refused(vault, tmp_path / "target", "it is not a directory")
        self.refused(vault, tmp_path / "target" / "below", "it is not a directory")

    @pytest.mark.parametrize("place", [".", "inner", "new/deeper", ".."])
    def test_a_target_that_overlaps(
        self, vault: Vault, taken: str, live: Path, tmp_path: Path, place: str
    ) -> None:
        protected = tmp_path / "holder" / "protected"
        (protected / "inner").mkdir(parents=True)
        match = "is not empty" if place in (".", "..") else "it overlaps with the archive"
        self.refused(vault, protected / place, match, live={"the archive": protected})

    def test_a_target_that_would_contain_something_live(
        self, vault: Vault, taken: str, tmp_path: Path
    ) -> None:
        live = {"a mount to come": tmp_path / "target" / "later"}
        self.refused(vault, tmp_path / "target", "it overlaps with a mount to come", live=live)

    def test_a_target_behind_a_symbolic_link(
        self, vault: Vault, taken: str, live: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "way").symlink_to(live)
        self.refused(
            vault,
            tmp_path / "way" / "new",
            'overlaps with source "models"',
            live={'source "models"': live},
        )

    def test_something_live_behind_a_symbolic_link(
        self, vault: Vault, taken: str, tmp_path: Path
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "way").symlink_to("real")
        live = {"the repository": tmp_path / "way"}
        self.refused(vault, tmp_path / "real" / "new", "overlaps with the repository", live=live)


def test_files_are_loaded_into_a_store(vault: Vault, taken: str, tmp_path: Path) -> None:
    result = vault.restore(tmp_path / "restored", into={"database": "stream://new"})
    assert result.verdict is Verdict.PROVEN
    (check,) = (check for check in result.checks if check.name == "records")
    assert "3 records" in check.detail
    database = vault.sources["database"]
    assert isinstance(database, StreamSource)
    assert database.loaded == ["stream://new"]


def test_a_store_that_holds_something_else_fails(vault: Vault, taken: str, tmp_path: Path) -> None:
    vault.add(StreamSource("database", [b"x"], collections=(CollectionFacts("passages", 2, 2),)))
    result = vault.restore(tmp_path / "restored", into={"database": "stream://new"})
    assert "has 2 records of dimension 2, had 3" in bad(result)["database", "records"].detail


@pytest.mark.parametrize(
    ("sources", "into", "error", "match"),
    [
        ((), "unknown", PolicyError, "it has no source unknown"),
        ((), "models", PolicyError, "it cannot be loaded into a store"),
        (("models",), "database", PolicyError, "not among those to be restored"),
        (("unknown",), None, PolicyError, "it has no source unknown"),
    ],
)
def test_wrong_names_touch_nothing(
    vault: Vault,
    taken: str,
    tmp_path: Path,
    sources: tuple[str, ...],
    into: str | None,
    error: type[VaultError],
    match: str,
) -> None:
    addresses = {into: "stream://new"} if into else {}
    with pytest.raises(error, match=match):
        vault.restore(tmp_path / "restored", sources=sources, into=addresses)
    assert not (tmp_path / "restored").exists()


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a few megabytes; skip as not run where that is not allowed."""
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"not run: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_unavailable_not_failed(vault: Vault, taken: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as place:
        with pytest.raises(UnavailableError, match="No space left on device") as raised:
            vault.restore(place / "target")
        assert raised.value.next_step == "free space and restore again"
        assert str(place) in raised.value.thing
