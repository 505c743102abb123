"""What folders of files say about models, good and bad."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import gguf as real
import numpy as np
import pytest

from llmvault.sources.interface import ModelFacts
from llmvault.sources.models.files import ModelFile
from llmvault.sources.models.folders import Inspection, inspect
from tests.fakes.gguf_model import write_embedding_model, write_language_model
from tests.fakes.model_folder import HIDDEN, write_adapter, write_model, write_weights


def look(root: Path) -> Inspection:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return inspect(
        ModelFile(path.relative_to(root).as_posix(), str(path), path.stat().st_size)
        for path in paths
    )


def findings(root: Path) -> set[tuple[str, str, str]]:
    return {(f.name, f.path, f.severity) for f in look(root).reading.findings}


def edit(path: Path, **changes: object) -> None:
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(document))


def test_a_model_of_one_file(tmp_path: Path) -> None:
    write_model(tmp_path)
    inspection = look(tmp_path)
    assert inspection.reading.findings == []
    assert inspection.models == [
        ModelFacts(
            name="",
            format="safetensors",
            architecture="LlamaForCausalLM",
            parameters=2 * 8 * HIDDEN,
            embedding_dimension=HIDDEN,
        )
    ]


def test_a_model_of_shards(tmp_path: Path) -> None:
    write_model(tmp_path / "chat", shards=3)
    inspection = look(tmp_path)
    assert inspection.reading.findings == []
    assert [(m.name, m.parameters) for m in inspection.models] == [("chat", 3 * 8 * HIDDEN)]
    assert inspection.indexes == {"chat/model.safetensors.index.json": {"shards": 3, "tensors": 3}}


def test_weights_stored_twice_are_counted_once(tmp_path: Path) -> None:
    write_model(tmp_path, shards=2)
    write_weights(tmp_path / "consolidated.safetensors")
    assert look(tmp_path).models[0].parameters == 2 * 8 * HIDDEN


def test_a_missing_shard(tmp_path: Path) -> None:
    write_model(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert findings(tmp_path) == {
        ("shard-missing", "model.safetensors.index.json", "failed"),
    }


def test_all_shards_missing(tmp_path: Path) -> None:
    write_model(tmp_path, shards=2)
    for shard in tmp_path.glob("*.safetensors"):
        shard.unlink()
    assert {finding[0] for finding in findings(tmp_path)} == {"shard-missing"}


def test_a_shard_without_its_tensors(tmp_path: Path) -> None:
    write_model(tmp_path, shards=2)
    shard = "model-00002-of-00002.safetensors"
    write_weights(tmp_path / shard, ("something.else",))
    assert findings(tmp_path) == {("tensors-missing", shard, "failed")}


@pytest.mark.parametrize("weight_map", [[], {"a": 1}, None, "x"])
def test_an_index_that_is_none(tmp_path: Path, weight_map: object) -> None:
    write_model(tmp_path, shards=2)
    edit(tmp_path / "model.safetensors.index.json", weight_map=weight_map)
    assert findings(tmp_path) == {("index-invalid", "model.safetensors.index.json", "failed")}


def test_an_index_that_climbs_out(tmp_path: Path) -> None:
    write_model(tmp_path, shards=2)
    edit(tmp_path / "model.safetensors.index.json", weight_map={"a": "../../etc/passwd"})
    assert ("shard-missing", "model.safetensors.index.json", "failed") in findings(tmp_path)


def test_shards_of_pickles(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for number in (1, 2):
        path = tmp_path / f"pytorch_model-0000{number}-of-00002.bin"
        path.write_bytes(pickle.dumps({"w": [number]}))
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "absent.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert findings(tmp_path) == {
        ("pickle-weights", "pytorch_model-00001-of-00002.bin", "warning"),
        ("pickle-weights", "pytorch_model-00002-of-00002.bin", "warning"),
        ("shard-missing", "pytorch_model.bin.index.json", "failed"),
    }
    assert look(tmp_path).models[0].format == "pickle"


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    write_adapter(tmp_path / "lora", base="acme/base")
    inspection = look(tmp_path)
    assert inspection.reading.findings == []
    assert inspection.models == [
        ModelFacts(
            name="lora",
            format="adapter",
            architecture="LORA",
            parameters=2 * 8 * HIDDEN,
            base_model="acme/base",
        )
    ]


def test_what_should_lie_beside_weights(tmp_path: Path) -> None:
    write_model(tmp_path / "no-tokenizer")
    (tmp_path / "no-tokenizer" / "tokenizer.json").unlink()
    write_weights(tmp_path / "bare" / "model.safetensors")
    write_weights(tmp_path / "diffusion" / "unet.safetensors")
    (tmp_path / "diffusion" / "config.json").write_text('{"_class_name": "UNet"}')
    assert findings(tmp_path) == {
        ("tokenizer-missing", "no-tokenizer", "warning"),
        ("config-missing", "bare", "warning"),
    }


def test_a_dense_layer_decides_the_dimension(tmp_path: Path) -> None:
    write_model(tmp_path)
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Dense").mkdir()
    (tmp_path / "1_Dense" / "config.json").write_text('{"in_features": 16, "out_features": 7}')
    assert look(tmp_path).models[0].embedding_dimension == 7


@pytest.mark.parametrize("modules", ["{}", "[1]", '[{"type": 3}]', '[{"type": "x.Dense"}]'])
def test_odd_modules_change_nothing(tmp_path: Path, modules: str) -> None:
    write_model(tmp_path)
    (tmp_path / "modules.json").write_text(modules)
    (tmp_path / "None").mkdir()
    assert look(tmp_path).models[0].architecture == "LlamaForCausalLM"


def test_the_language_part_of_a_multimodal_model(tmp_path: Path) -> None:
    write_model(tmp_path)
    config = {"architectures": ["VL"], "text_config": {"hidden_size": 99}, "hidden_size": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert look(tmp_path).models[0].embedding_dimension == 99


@pytest.mark.parametrize("config", ["", "{", "[]", '{"a": ' + "[" * 9999])
def test_a_broken_config(tmp_path: Path, config: str) -> None:
    write_model(tmp_path)
    (tmp_path / "config.json").write_text(config)
    assert findings(tmp_path) == {("document-invalid", "config.json", "failed")}
    assert look(tmp_path).models[0].parameters == 2 * 8 * HIDDEN


@pytest.mark.parametrize("value", [7, [], [7], {}, None])
def test_odd_architectures(tmp_path: Path, value: object) -> None:
    write_model(tmp_path)
    edit(tmp_path / "config.json", architectures=value)
    assert look(tmp_path).models[0].architecture == ""


def test_gguf_models(tmp_path: Path) -> None:
    write_language_model(tmp_path / "chat.gguf")
    (tmp_path / "embed").mkdir()
    write_embedding_model(tmp_path / "embed" / "bert.gguf")
    inspection = look(tmp_path)
    assert inspection.reading.findings == []
    assert [
        (m.name, m.format, m.architecture, m.embedding_dimension) for m in inspection.models
    ] == [
        ("chat.gguf", "gguf", "llama", 64),
        ("embed/bert.gguf", "gguf", "bert", 64),
    ]
    assert inspection.models[0].parameters > 30_000


def test_a_gguf_under_another_name_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_language_model(tmp_path / "chat.gguf").rename(tmp_path / "blob")
    with path.open("r+b") as stream:
        stream.truncate(1 << 20)
    assert look(tmp_path).reading.weights["blob"].format == "gguf"


def test_a_gguf_in_parts(tmp_path: Path) -> None:
    for number in (1, 2):
        write_language_model(tmp_path / f"big-0000{number}-of-00003.gguf")
    assert findings(tmp_path) == {("shard-missing", "big-00003-of-00003.gguf", "failed")}
    write_language_model(tmp_path / "big-00003-of-00003.gguf")
    assert findings(tmp_path) == set()
    models = look(tmp_path).models
    assert [model.name for model in models] == ["big-00001-of-00003.gguf"]
    single = look_at_one(tmp_path / "big-00001-of-00003.gguf")
    assert models[0].parameters == 3 * single.parameters


def look_at_one(path: Path) -> ModelFacts:
    return inspect([ModelFile("one.gguf", str(path), path.stat().st_size)]).models[0]


def test_a_gguf_adapter_names_its_base(tmp_path: Path) -> None:
    writer = real.GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    writer.add_base_model_count(1)
    writer.add_base_model_repo_url(0, "https://huggingface.co/acme/base")
    writer.add_tensor("w.lora_a", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (facts,) = look(tmp_path).models
    assert (facts.format, facts.base_model) == ("adapter", "acme/base")


def test_pickles_are_told(tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(pickle.dumps({"w": [1.0]}))
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as archive:
        archive.writestr("new/data.pkl", pickle.dumps({}))
    (tmp_path / "tensor.bin").write_bytes(bytes(100))
    (tmp_path / "odd.ckpt").write_bytes(b"no pickle")
    (tmp_path / "empty.bin").touch()
    assert findings(tmp_path) == {
        ("pickle-weights", "old.bin", "warning"),
        ("pickle-weights", "new.pt", "warning"),
        ("pickle-weights", "odd.ckpt", "warning"),
        ("weights-empty", "empty.bin", "warning"),
    }


def test_a_large_pickle_under_another_name_is_told(tmp_path: Path) -> None:
    content = pickle.dumps({"weights": bytes(2 << 20)}, protocol=4)
    (tmp_path / "large.unknown").write_bytes(content)
    assert findings(tmp_path) == {("pickle-weights", "large.unknown", "warning")}


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "pytorch_model.bin"])
def test_a_pointer_instead_of_weights(tmp_path: Path, name: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    (tmp_path / name).write_text(pointer)
    assert findings(tmp_path) == {("lfs-pointer", name, "failed")}


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_empty_and_sparse_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert findings(tmp_path) == {("header-truncated", name, "failed")}
    with path.open("r+b") as stream:
        stream.truncate(64 << 20)
    ((found, _, severity),) = findings(tmp_path)
    assert found in ("header-json", "header-magic")
    assert severity == "failed"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_weights(root / "w.safetensors").rename(root / "\udcff\udcfe.safetensors")
    write_weights(root / "w.safetensors").rename(root / ("n" * 243 + ".safetensors"))
    assert sorted(look(root).reading.summaries()) == [
        "\\xff\\xfe.safetensors",
        "n" * 243 + ".safetensors",
    ]
