"""Goldens recorded around a backup: taken over, made anew, or left out with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmvault.backup.run import Recorded
from llmvault.core.errors import UnavailableError
from llmvault.core.files import sha256_file
from llmvault.core.verdict import Verdict
from llmvault.drill.golden import GoldenSet, NeighboursRecord
from llmvault.drill.golden_store import read_sets
from llmvault.drill.wiring import WiredEngine
from llmvault.policy.model import CompletionGolden
from llmvault.recovery_points.manifest import encode
from llmvault.recovery_points.model import FileRecord, LastRun
from tests.fakes.deployment import QUERIES, FakeDeployment, weights
from tests.fakes.manifests import file_record, manifest, source_record
from tests.fakes.sources import FolderSource, StreamSource
from tests.vault import PLAN, Vault

FILES = ("chat.bin", "embedder.bin")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault without repositories: recording needs none."""
    return Vault(tmp_path / "vault")


@pytest.fixture
def deployment(tmp_path: Path) -> FakeDeployment:
    return FakeDeployment(tmp_path / "live")


def records(deployment: FakeDeployment) -> tuple[FileRecord, ...]:
    """What a backup finds in the models' folder."""
    folder = deployment.models.path
    return tuple(file_record(name, sha256=sha256_file(folder / name)) for name in FILES)


def record(deployment: FakeDeployment, vault: Vault, number: int = 1) -> Recorded:
    """Record as a backup does, and let this be the last recovery point."""
    recorder = deployment.recorder(vault)
    recorder.before()
    found = recorder.after((), {"models": records(deployment)})
    point = replace(manifest(source_record("models")), id=f"rp-{number}", goldens=found.goldens)
    vault.memory.keep_manifest(point.id, encode(point))
    vault.memory.remember_run(PLAN, LastRun(point.id))
    return found


def sets_of(found: Recorded) -> dict[str, GoldenSet]:
    return {golden.name: golden for golden in read_sets(found.goldens)}


def test_everything_is_recorded(deployment: FakeDeployment, vault: Vault) -> None:
    found = record(deployment, vault)
    (check,) = found.checks
    assert (check.name, check.verdict) == ("goldens", Verdict.PROVEN)
    assert check.detail.startswith("3 golden sets, 0 of them taken over")
    sets = sets_of(found)
    assert sets.keys() == {"answers", "vectors", "nearest"}
    digests = {r.path: r.sha256 for r in records(deployment)}
    assert sets["answers"].model_sha256 == digests["chat.bin"]
    assert sets["nearest"].model_sha256 == digests["embedder.bin"]
    assert [r.question for r in sets["nearest"].records] == [*QUERIES]
    assert deployment.chat.running == deployment.embedder.running == 0


def test_while_the_model_is_the_same_no_engine_is_started(
    deployment: FakeDeployment, vault: Vault
) -> None:
    first = record(deployment, vault)
    starts = (deployment.chat.starts, deployment.embedder.starts)
    second = record(deployment, vault, 2)
    assert (deployment.chat.starts, deployment.embedder.starts) == starts
    assert sets_of(second)["answers"] == sets_of(first)["answers"]
    assert "2 of them taken over" in second.checks[0].detail


def test_a_new_model_is_asked_again(deployment: FakeDeployment, vault: Vault) -> None:
    first = record(deployment, vault)
    (deployment.models.path / "chat.bin").write_bytes(weights("another"))
    starts = deployment.embedder.starts
    second = record(deployment, vault, 2)
    before, after = sets_of(first)["answers"], sets_of(second)["answers"]
    assert after.model_sha256 != before.model_sha256
    assert after.records != before.records
    assert sets_of(second)["vectors"] == sets_of(first)["vectors"]
    assert deployment.embedder.starts == starts


def test_a_new_embedding_model_embeds_the_queries_again(
    deployment: FakeDeployment, vault: Vault
) -> None:
    first = record(deployment, vault)
    (deployment.models.path / "embedder.bin").write_bytes(weights("another"))
    second = record(deployment, vault, 2)
    before, after = sets_of(first)["nearest"], sets_of(second)["nearest"]
    assert after.model_sha256 == sha256_file(deployment.models.path / "embedder.bin")
    assert [r.question for r in after.records] == [r.question for r in before.records]
    assert after.records != before.records


def test_other_questions_are_asked(deployment: FakeDeployment, vault: Vault) -> None:
    record(deployment, vault)
    deployment.goldens["answers"] = CompletionGolden(
        kind="completion", engine="chat", prompts=("one", "two"), max_tokens=7
    )
    found = sets_of(record(deployment, vault, 2))["answers"]
    assert found.parameters == {"max_tokens": 7}


def test_a_model_without_a_digest_is_never_taken_over(
    deployment: FakeDeployment, vault: Vault
) -> None:
    def unread() -> Recorded:
        recorder = deployment.recorder(vault)
        recorder.before()
        found = recorder.after((), {})
        point = replace(manifest(source_record("models")), id="rp-1", goldens=found.goldens)
        vault.memory.keep_manifest(point.id, encode(point))
        vault.memory.remember_run(PLAN, LastRun(point.id))
        return found

    unread()
    starts = deployment.chat.starts
    assert "0 of them taken over" in unread().checks[0].detail
    assert deployment.chat.starts == starts + 1


def test_queries_that_are_not_stable_are_left_out(deployment: FakeDeployment, vault: Vault) -> None:
    """The store is written to during the backup: one query finds the new record, one does not."""
    recorder = deployment.recorder(vault)
    recorder.before()
    (stable, moved) = recorder._found_before["nearest"].records
    assert isinstance(moved, NeighboursRecord)
    deployment.store.collections["passages"]["new"] = tuple(1.01 * v for v in moved.vector)
    found = sets_of(recorder.after((), {"models": records(deployment)}))["nearest"]
    assert [r.question for r in found.records] == [stable.question]


def test_when_no_query_is_stable_the_reason_is_told(
    deployment: FakeDeployment, vault: Vault
) -> None:
    recorder = deployment.recorder(vault)
    recorder.before()
    deployment.store.collections["passages"] = {
        "other": deployment.store.collections["passages"]["drill"]
    }
    found = recorder.after((), {"models": records(deployment)})
    assert sets_of(found).keys() == {"answers", "vectors"}
    (check,) = found.checks
    assert check.verdict is Verdict.UNPROVEN
    assert "nearest" in check.detail
    assert "no query is stable" in check.detail


def test_an_engine_that_is_not_there_leaves_its_sets_out(
    deployment: FakeDeployment, vault: Vault
) -> None:
    deployment.chat.missing = "it is not installed"
    found = record(deployment, vault)
    assert sets_of(found).keys() == {"vectors", "nearest"}
    assert found.checks[0].verdict is Verdict.UNPROVEN
    assert 'engine "chat": it is not installed' in found.checks[0].detail


def test_a_store_that_is_not_there_leaves_its_set_out(
    deployment: FakeDeployment, vault: Vault
) -> None:
    deployment.store.collections.clear()
    found = record(deployment, vault)
    assert sets_of(found).keys() == {"answers", "vectors"}
    assert "does not exist" in found.checks[0].detail


def test_goldens_of_an_unknown_form_are_recorded_anew(
    deployment: FakeDeployment, vault: Vault
) -> None:
    point = replace(manifest(source_record("models")), id="rp-1", goldens=({"format": "x"},))
    vault.memory.keep_manifest(point.id, encode(point))
    vault.memory.remember_run(PLAN, LastRun(point.id))
    assert record(deployment, vault, 2).checks[0].verdict is Verdict.PROVEN


class TestWiring:
    """Which file an engine is started on, and by which digest it is named."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        (root / "blobs").mkdir(parents=True)
        (root / "blobs" / "1").write_bytes(weights("one"))
        (root / "snapshot").mkdir()
        (root / "snapshot" / "model.bin").symlink_to("../blobs/1")
        (root / "snapshot" / "config.json").write_text("{}")
        return root

    def wired(self, deployment: FakeDeployment, root: Path, model: str) -> WiredEngine:
        return WiredEngine(deployment.chat, FolderSource("hub", root), model, False)

    def test_a_file_is_named_by_its_digest(self, deployment: FakeDeployment, root: Path) -> None:
        wired = self.wired(deployment, root, "snapshot/model.bin")
        files = {"blobs/1": file_record("blobs/1", sha256="11" * 32)}
        assert wired.model_sha256(root, files) == "11" * 32
        assert wired.model_sha256(root, {}) == ""

    def test_a_folder_is_named_by_all_its_files(
        self, deployment: FakeDeployment, root: Path
    ) -> None:
        wired = self.wired(deployment, root, "snapshot")
        files = {
            path: file_record(path, sha256=digest * 32)
            for path, digest in (("blobs/1", "11"), ("snapshot/config.json", "22"))
        }
        found = wired.model_sha256(root, files)
        assert len(found) == 64
        files["blobs/1"] = file_record("blobs/1", sha256="33" * 32)
        assert wired.model_sha256(root, files) != found

    @pytest.mark.parametrize("model", ["snapshot", "snapshot/model.bin"])
    def test_a_link_out_of_the_source_is_not_followed(
        self, deployment: FakeDeployment, root: Path, tmp_path: Path, model: str
    ) -> None:
        (tmp_path / "outside.bin").write_bytes(weights("live"))
        (root / "snapshot" / "model.bin").unlink()
        (root / "snapshot" / "model.bin").symlink_to(tmp_path / "outside.bin")
        wired = self.wired(deployment, root, model)
        with pytest.raises(UnavailableError, match="outside of the source"):
            wired.model_path(root)
        with (
            pytest.raises(UnavailableError, match="outside of the source"),
            wired.start(root, tmp_path / "log"),
        ):
            pass

    def test_the_root_may_itself_be_behind_a_link(
        self, deployment: FakeDeployment, root: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "way").symlink_to(root)
        wired = self.wired(deployment, tmp_path / "way", "snapshot")
        assert wired.model_path(tmp_path / "way") == tmp_path / "way" / "snapshot"

    def test_a_source_without_models_is_told(self, deployment: FakeDeployment, root: Path) -> None:
        wired = replace(self.wired(deployment, root, "x"), source=StreamSource("database", [b"x"]))
        with pytest.raises(UnavailableError, match="holds no models"):
            wired.model_path(root)
