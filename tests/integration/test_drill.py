"""Drills of real repositories with engines and stores in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.drill.apply import FULL
from llmvault.drill.engines.interface import EngineIdentity
from llmvault.drill.golden_store import FILENAME, GOLDENS_TAG
from llmvault.restic.command import BackupOptions
from llmvault.sources.interface import OpenStore
from tests.fakes.deployment import FakeDeployment, weights
from tests.fakes.sources import FolderSource, StoreSource
from tests.integration.drilled import bad, verdict_of
from tests.vault import HOST, PLAN, Vault, flip

pytestmark = pytest.mark.integration


def test_everything_is_proven(vault: Vault, deployment: FakeDeployment, point: str) -> None:
    shutil.rmtree(deployment.base)
    result = vault.drill(deployment.wiring)
    assert bad(result) == {}
    assert (result.verdict, result.recovery_point) == (Verdict.PROVEN, point)
    assert {check.name for check in result.checks} == {
        *("recovery-point", "free-space", "digests", "tree", "structure", "records"),
        *("engine:chat", "engine:embedder", "golden:answers", "golden:vectors", "golden:nearest"),
        *("rto", "rpo"),
    }
    phases = result.phases
    for seconds in (phases.fetch, phases.verify, phases.load, phases.first_answer, phases.total):
        assert seconds is not None
        assert seconds >= 0
    assert result.rto.measured_s == phases.total
    assert result.engines.keys() == {"chat", "embedder"}
    assert [(s.name, s.files, s.repository) for s in result.sources] == [
        ("models", 2, "primary"),
        ("documents", 1, "primary"),
    ]
    assert deployment.chat.running == deployment.embedder.running == 0
    assert list((vault.base / "scratch").iterdir()) == []
    (entry,) = vault.drills
    assert (entry.id, entry.verdict, entry.phases["total"]) == (result.id, "proven", phases.total)
    assert result.id in Path(result.report).read_text()


def test_a_damaged_pack_fails_names_the_file_and_starts_no_engine_on_it(
    vault: Vault, deployment: FakeDeployment, tmp_path: Path
) -> None:
    (deployment.models.path / "big.bin").write_bytes(os.urandom(2 << 20))
    vault.backup(recorder=deployment.recorder(vault))
    starts = deployment.chat.starts
    pack = vault.packs()[0]
    flip(pack, pack.stat().st_size // 2)
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.FAILED
    found = bad(result)
    assert "big.bin: " in found["digests", "models"][1]
    assert "big.bin: " in found["restore", "models"][1]
    verdict, detail = found["engine:chat", "models"]
    assert verdict is Verdict.UNPROVEN
    assert detail.startswith("not started, the model's bytes are not as recorded: ")
    assert deployment.chat.starts == starts
    assert verdict_of(result, "golden:nearest")[0] is Verdict.PROVEN, "the store is whole"


def test_a_model_that_does_not_load_fails(vault: Vault, deployment: FakeDeployment) -> None:
    (deployment.models.path / "chat.bin").write_bytes(b"no model")
    vault.backup()
    result = vault.drill(deployment.wiring)
    verdict, detail = bad(result)["engine:chat", "models"]
    assert (verdict, "is no model" in detail) == (Verdict.FAILED, True)


def crash(asked: str) -> None:
    raise UnavailableError(
        'engine "chat"', "was killed by signal 11; its log ends: assertion failed"
    )


def test_an_engine_that_crashes_at_the_first_question_fails(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    deployment.chat.before = crash
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.FAILED
    verdict, detail = bad(result)["engine:chat", "models"]
    assert verdict is Verdict.FAILED
    assert "assertion failed" in detail
    assert result.phases.total is not None, "the other engine answered"


def test_an_engine_that_hangs_later_leaves_its_golden_unproven(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    def hang(asked: str) -> None:
        if asked == "two":
            raise UnavailableError('engine "chat"', "did not answer within 120 s")

    deployment.chat.before = hang
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.UNPROVEN
    assert bad(result).keys() == {("golden:answers", "models")}
    assert "did not answer" in bad(result)["golden:answers", "models"][1]


def test_an_engine_that_answers_differently_fails(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    deployment.models = replace_model(deployment, "chat.bin", weights("another"))
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.FAILED
    assert ("golden:answers", "models") in bad(result)


def replace_model(deployment: FakeDeployment, name: str, content: bytes) -> FolderSource:
    """Return a driver that locates another model than the restored one."""
    other = deployment.base / "other"
    other.mkdir()
    (other / name).write_bytes(content)

    class Misled(FolderSource):
        def model_path(self, root: Path, model: str) -> Path:
            path = root / model
            if model == name and root != self.path:
                path.write_bytes(content)
            return path

    return Misled("models", deployment.models.path)


def test_another_engine_is_compared_by_tolerance(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    deployment.chat.identity = EngineIdentity("fake", "fake 2", "gpu imagined", "f16")
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.PROVEN
    assert "gpu imagined" in verdict_of(result, "engine:chat")[1]


def test_an_engine_that_is_not_installed_is_unproven(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    deployment.chat.missing = deployment.embedder.missing = "it is not installed"
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.UNPROVEN
    assert bad(result)["engine:chat", "models"] == (Verdict.UNPROVEN, "it is not installed")
    assert result.phases.total is None
    assert bad(result)["rto", ""][0] is Verdict.UNPROVEN


def test_a_plan_without_engines_is_unproven(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    result = vault.drill(replace(deployment.wiring, engines={}, goldens={}))
    assert result.verdict is Verdict.UNPROVEN
    assert bad(result)["engine", ""][1] == "the plan names no engine, so nothing was asked"


def test_a_store_that_holds_less_fails(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    del deployment.store.collections["passages"]["backup"]
    result = vault.drill(deployment.wiring)
    assert result.verdict is Verdict.FAILED
    assert "3 records" in bad(result)["records", "documents"][1]


def test_a_store_that_finds_something_else_fails(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    passages = deployment.store.collections["passages"]
    passages |= {name: tuple(-value for value in vector) for name, vector in passages.items()}
    result = vault.drill(deployment.wiring)
    assert bad(result)["golden:nearest", "documents"][0] is Verdict.FAILED


def test_a_source_that_the_policy_lost_is_unproven(
    vault: Vault, deployment: FakeDeployment, point: str
) -> None:
    wiring = deployment.wiring
    result = vault.drill(replace(wiring, sources={"models": deployment.models}))
    assert bad(result)["structure", "documents"][0] is Verdict.UNPROVEN


def test_a_link_out_of_the_restored_files_is_not_followed(
    vault: Vault, deployment: FakeDeployment, tmp_path: Path
) -> None:
    """It would start the engine on the live model, and prove nothing."""
    live = deployment.models.path / "chat.bin"
    live.rename(tmp_path / "elsewhere.bin")
    live.symlink_to(tmp_path / "elsewhere.bin")
    vault.backup()
    result = vault.drill(deployment.wiring)
    verdict, detail = bad(result)["engine:chat", "models"]
    assert verdict is Verdict.FAILED
    assert "elsewhere.bin, outside of the source" in detail


class TestGoldens:
    """Recording by a drill, and what is recorded where."""

    @pytest.fixture
    def bare(self, vault: Vault, deployment: FakeDeployment) -> str:
        """The id of a recovery point without goldens."""
        return vault.backup()[1].id

    def test_without_goldens_a_drill_is_unproven(
        self, vault: Vault, deployment: FakeDeployment, bare: str
    ) -> None:
        result = vault.drill(deployment.wiring)
        assert {name for name, _ in bad(result)} == {
            "golden:answers",
            "golden:vectors",
            "golden:nearest",
        }
        assert "llmvault drill --record" in bad(result)["golden:answers", ""][1]

    @pytest.mark.parametrize("lost", ["nothing", "the host's copy", "a torn copy"])
    def test_a_drill_records_and_the_next_compares(
        self, vault: Vault, deployment: FakeDeployment, bare: str, lost: str
    ) -> None:
        vault.add_repository("second")
        first = vault.drill(deployment.wiring, record=True)
        assert first.verdict is Verdict.UNPROVEN, "nothing was compared yet"
        (copy,) = (vault.state / "goldens").iterdir()
        if lost == "the host's copy":
            copy.unlink()
        elif lost == "a torn copy":
            copy.write_bytes(copy.read_bytes()[:100])
        second = vault.drill(deployment.wiring)
        assert bad(second) == {}
        for name in vault.repositories:
            stored = vault.repositories[name].snapshots((GOLDENS_TAG,))
            assert [s.tag("llmvault:recovery-point") for s in stored] == [bare]

    def test_recording_again_adds_what_is_missing(
        self, vault: Vault, deployment: FakeDeployment, bare: str
    ) -> None:
        answers = deployment.goldens.pop("answers")
        vault.drill(deployment.wiring, record=True)
        deployment.goldens["answers"] = answers
        second = vault.drill(deployment.wiring, record=True)
        assert bad(second).keys() == {("golden:answers", "models")}
        assert bad(vault.drill(deployment.wiring)) == {}

    def test_what_cannot_be_recorded_is_told(
        self, vault: Vault, deployment: FakeDeployment, bare: str
    ) -> None:
        deployment.embedder.missing = "it is not installed"
        result = vault.drill(deployment.wiring, record=True)
        assert "was not started" in bad(result)["goldens", ""][1]

    def test_damaged_goldens_fail_and_the_rest_is_drilled(
        self, vault: Vault, deployment: FakeDeployment, bare: str
    ) -> None:
        tags = (GOLDENS_TAG, f"llmvault:plan={PLAN}", f"llmvault:recovery-point={bare}")
        with vault.repositories["primary"].open_stream(
            FILENAME, BackupOptions(HOST, tags)
        ) as stream:
            stream.write(b'[{"format": "llmvault-goldens/1"}]')
            stream.finish()
        result = vault.drill(deployment.wiring)
        assert bad(result)["goldens", ""][0] is Verdict.FAILED
        assert verdict_of(result, "engine:chat")[0] is Verdict.PROVEN


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), IntegrityError("a", "b")]
)
def test_what_goes_wrong_in_one_source_does_not_stop_the_others(
    vault: Vault, deployment: FakeDeployment, point: str, error: Exception
) -> None:
    class Failing(StoreSource):
        @contextmanager
        def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
            raise error
            yield self.store

    failing = Failing("documents", deployment.documents.path)
    sources = {"models": deployment.models, "documents": failing}
    wiring = replace(deployment.wiring, sources=sources)
    result = vault.drill(wiring)
    verdict, detail = bad(result)["records", "documents"]
    if isinstance(error, OSError):
        assert (verdict, detail) == (Verdict.UNPROVEN, FULL)
    else:
        assert verdict is Verdict.FAILED
    assert verdict_of(result, "golden:answers")[0] is Verdict.PROVEN
    assert verdict_of(result, "golden:nearest")[0] is Verdict.UNPROVEN
