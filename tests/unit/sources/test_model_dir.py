"""Model directories that are not as they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.interface import Observation, TreeCapture
from llmvault.sources.model_dir import ModelDirectory
from tests.contract.source import as_json, capture_into, local_ports, through_json
from tests.fakes import source_configs
from tests.fakes.gguf_model import write_language_model
from tests.fakes.model_folder import write_adapter, write_model, write_weights
from tests.unit.sources.conftest import without_privileges


def source(root: Path, **more: object) -> ModelDirectory:
    return ModelDirectory("weights", source_configs.model_dir(root, **more), local_ports())


def findings(root: Path, **more: object) -> set[tuple[str, str, str]]:
    return {(f.name, f.path, f.severity) for f in source(root, **more).observe().findings}


def test_an_empty_directory_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert findings(tmp_path) == {("empty-source", "", "unproven")}


def test_a_directory_without_weights_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    assert findings(tmp_path) == {("no-weights", "", "unproven")}


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = write_language_model(tmp_path / "model.gguf")
    with pytest.raises(UnavailableError, match="not a directory"):
        source(path).observe()


def test_links_that_would_dangle(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_model(root)
    real = write_weights(tmp_path / "elsewhere" / "model.safetensors")
    (root / "outside.safetensors").symlink_to(real)
    (root / "relative.safetensors").symlink_to("../elsewhere/model.safetensors")
    (root / "gone.gguf").symlink_to("nowhere.gguf")
    (root / "loop.bin").symlink_to("loop.bin")
    (root / "readme.md").symlink_to("../elsewhere/readme.md")
    assert findings(root) == {
        ("link-outside", "outside.safetensors", "failed"),
        ("link-outside", "relative.safetensors", "failed"),
        ("dangling-link", "gone.gguf", "failed"),
        ("dangling-link", "loop.bin", "failed"),
        ("link-outside", "readme.md", "warning"),
    }


def test_a_linked_model_inside_is_read(tmp_path: Path) -> None:
    write_weights(tmp_path / "store" / "abc")
    (tmp_path / "model.safetensors").symlink_to("store/abc")
    observation = source(tmp_path).observe()
    assert list(observation.details["weights"]) == ["model.safetensors"]


def test_a_weights_file_that_cannot_be_read(open_folder: Path) -> None:
    write_model(open_folder)
    (open_folder / "model.safetensors").chmod(0)
    with without_privileges():
        seen = findings(open_folder)
    assert ("unreadable", "model.safetensors", "unproven") in seen


def test_hard_links_are_two_files(tmp_path: Path) -> None:
    first = write_weights(tmp_path / "a.safetensors")
    os.link(first, tmp_path / "b.safetensors")
    weights = source(tmp_path).observe().details["weights"]
    assert weights["a.safetensors"] == weights["b.safetensors"]


def test_exclusions_apply(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(b"\x80\x02}.")
    (tmp_path / "broken.safetensors").write_bytes(b"")
    exclude = ("optimizer.pt", "broken.*")
    assert findings(tmp_path, exclude=exclude) == set()
    with source(tmp_path, exclude=exclude).capture(tmp_path) as capture:
        assert isinstance(capture, TreeCapture)
        assert capture.exclude == exclude
        assert capture.paths is None


def test_excluding_what_a_link_needs_is_told(tmp_path: Path) -> None:
    write_weights(tmp_path / "store" / "abc")
    (tmp_path / "model.safetensors").symlink_to("store/abc")
    seen = findings(tmp_path, exclude=("store",))
    assert ("link-outside", "model.safetensors", "failed") in seen


def test_an_adapter_takes_its_base_from_the_policy(tmp_path: Path) -> None:
    write_adapter(tmp_path, base="/mnt/old/base")
    (facts,) = source(tmp_path, base_model="cache").observe().models
    assert (facts.name, facts.base_model) == (".", "cache")
    assert findings(tmp_path, base_model="cache") == {("adapter-base-differs", ".", "warning")}
    assert findings(tmp_path, base_model="/mnt/old/base") == set()


def test_an_adapter_without_a_base_is_told(tmp_path: Path) -> None:
    write_adapter(tmp_path, base="")
    assert findings(tmp_path) == {("adapter-base-unknown", ".", "warning")}


def test_odd_names_are_recorded_and_checked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("\udcff.safetensors", "n" * 243 + ".safetensors", "new\nline.safetensors"):
        write_weights(root / "w.safetensors").rename(root / name)
    recorded, _ = capture_into(source(root), tmp_path / "restored", tmp_path)
    assert as_json(recorded)
    checks = source(root).check(tmp_path / "restored", through_json(recorded))
    assert {check.verdict for check in checks} == {Verdict.PROVEN}


def restore(tmp_path: Path, *, shards: int = 2) -> tuple[ModelDirectory, Path, Observation]:
    live = source(write_model(tmp_path / "live", shards=shards))
    recorded, _ = capture_into(live, tmp_path / "restored", tmp_path)
    return live, tmp_path / "restored", through_json(recorded)


def verdicts(case: tuple[ModelDirectory, Path, Observation]) -> dict[str, Verdict]:
    live, restored, recorded = case
    return {check.name: check.verdict for check in live.check(restored, recorded)}


def test_a_lost_shard_fails_both_checks(tmp_path: Path) -> None:
    case = restore(tmp_path)
    (case[1] / "model-00001-of-00002.safetensors").unlink()
    assert verdicts(case) == {"headers": Verdict.FAILED, "inventory": Verdict.FAILED}


def test_a_further_weights_file_is_no_restore(tmp_path: Path) -> None:
    case = restore(tmp_path)
    write_weights(case[1] / "other.safetensors")
    assert verdicts(case) == {"headers": Verdict.PROVEN, "inventory": Verdict.FAILED}


def test_pickles_alone_have_no_header_to_check(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    recorded, _ = capture_into(source(live), tmp_path / "restored", tmp_path)
    case = (source(live), tmp_path / "restored", through_json(recorded))
    assert verdicts(case) == {"inventory": Verdict.PROVEN}
    (tmp_path / "restored" / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00..")
    assert verdicts(case) == {"inventory": Verdict.FAILED}


@pytest.mark.parametrize("model", ["../secret", "folder/../../secret", "out", "/etc/passwd"])
def test_a_model_outside_of_the_root_is_refused(tmp_path: Path, model: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (root / "out").symlink_to("../secret")
    with pytest.raises(RefusedError):
        source(root).model_path(root, model)


@pytest.mark.parametrize("model", ["absent", "empty", "loop"])
def test_a_model_that_is_not_there(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnavailableError):
        source(tmp_path).model_path(tmp_path, model)


def test_the_root_itself_is_a_model(tmp_path: Path) -> None:
    write_model(tmp_path)
    assert source(tmp_path).model_path(tmp_path, ".").samefile(tmp_path)
