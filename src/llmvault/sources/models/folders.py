"""Models as folders of files: configuration, tokenizer, shards, adapters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmvault.sources.formats.documents import positive, read_document
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.names import printable, short_text
from llmvault.sources.interface import ModelFacts
from llmvault.sources.models.files import ModelFile, Reading, Weights, read_weights
from llmvault.sources.walk import unreadable_finding

_HIDDEN_SIZE = ("hidden_size", "d_model", "n_embd", "dim", "model_dim")
_TOKENIZERS = frozenset(
    (
        *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.txt", "vocab.json"),
        *("spiece.model", "sentencepiece.bpe.model", "source.spm", "tekken.json", "merges.txt"),
    )
)
_CONFIGS = ("config.json", "params.json")
_INDEX_SUFFIX = ".index.json"
_SPLIT = re.compile(r"(.*-)(\d{5})-of-(\d{5})\.gguf", re.DOTALL)
_HUB = "https://huggingface.co/"


@dataclass(slots=True)
class Inspection:
    """Models, weights and indexes among some files, and everything that is wrong with them.

    Model names are folders, or files for GGUF; the model at the top has an empty name.
    """

    reading: Reading
    files: Mapping[str, ModelFile]
    models: list[ModelFacts] = field(default_factory=list)
    indexes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one folder by name, and the weights among them."""

    path: str
    files: Mapping[str, ModelFile]
    weights: Mapping[str, Weights]

    def of_format(self, format_name: str) -> list[Weights]:
        """Return the weights of one format, by name."""
        named = (self.weights[name] for name in sorted(self.weights))
        return [weights for weights in named if weights.format == format_name]

    def in_it(self, name: str) -> str:
        """Return the path of a name in this folder."""
        return f"{self.path}/{name}" if self.path else name


def inspect(files: Iterable[ModelFile]) -> Inspection:
    """Return what is known of the models that a set of files makes up."""
    listed = list(files)
    inspection = Inspection(read_weights(listed), {file.path: file for file in listed})
    for folder in _folders(listed, inspection.reading):
        for name in sorted(folder.files):
            if name.endswith(_INDEX_SUFFIX):
                _check_index(folder, name, inspection)
        _add_gguf_models(folder, inspection)
        _add_folder_models(folder, inspection)
    return inspection


def _folders(files: list[ModelFile], reading: Reading) -> list[Folder]:
    interesting = {weights.file.folder for weights in reading.weights.values()}
    interesting |= {file.folder for file in files if file.name.endswith(_INDEX_SUFFIX)}
    names: dict[str, dict[str, ModelFile]] = {path: {} for path in sorted(interesting)}
    for file in files:
        if file.folder in names:
            names[file.folder][file.name] = file
    return [Folder(path, held, _weights_of(held.values(), reading)) for path, held in names.items()]


def _weights_of(files: Iterable[ModelFile], reading: Reading) -> dict[str, Weights]:
    return {file.name: reading.weights[file.path] for file in files if file.path in reading.weights}


def _check_index(folder: Folder, name: str, inspection: Inspection) -> None:
    path = folder.in_it(name)
    document = _object(folder.files.get(name), inspection)
    if document is None:
        return
    mapping = document.get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        inspection.reading.note("index-invalid", path, "its weight_map is no map of names to files")
        return
    wanted: dict[str, set[str]] = {}
    for tensor, shard in mapping.items():
        wanted.setdefault(shard, set()).add(tensor)
    for shard in sorted(wanted):
        _check_shard(folder, path, shard, wanted[shard], inspection)
    inspection.indexes[printable(path)] = {"shards": len(wanted), "tensors": len(mapping)}


def _check_shard(
    folder: Folder, index: str, shard: str, tensors: set[str], inspection: Inspection
) -> None:
    if shard not in folder.files:
        detail = f"{printable(index)} names the shard {printable(shard)}, which is not there"
        inspection.reading.note("shard-missing", index, detail)
        return
    weights = folder.weights.get(shard)
    # A shard with a broken header has its own finding; a pickle is never opened.
    if weights is None or weights.format == "pickle":
        return
    absent = sorted(tensors - weights.tensors)
    if absent:
        detail = f"{len(absent)} tensors that {printable(index)} names are not in it"
        inspection.reading.note(
            "tensors-missing", folder.in_it(shard), f"{detail}, e.g. {printable(absent[0])}"
        )


def _add_gguf_models(folder: Folder, inspection: Inspection) -> None:
    splits: dict[tuple[str, str], list[Weights]] = {}
    for weights in folder.of_format("gguf"):
        match = _SPLIT.fullmatch(weights.file.name)
        if match is None:
            inspection.models.append(gguf_facts(weights, [weights]))
        else:
            splits.setdefault((match[1], match[3]), []).append(weights)
    for (prefix, total), parts in splits.items():
        _check_splits(folder, prefix, int(total), inspection)
        inspection.models.append(gguf_facts(parts[0], parts))


def _check_splits(folder: Folder, prefix: str, total: int, inspection: Inspection) -> None:
    wanted = (f"{prefix}{number:05d}-of-{total:05d}.gguf" for number in range(1, total + 1))
    absent = next((name for name in wanted if name not in folder.files), None)
    if absent is not None:
        path = folder.in_it(absent)
        inspection.reading.note("shard-missing", path, f"one of {total} parts is not there")


def gguf_facts(first: Weights, parts: list[Weights]) -> ModelFacts:
    """Return what the header of a GGUF, or of the first of its parts, says of the model."""
    metadata = first.gguf.metadata if first.gguf else {}
    architecture = first.gguf.architecture if first.gguf else ""
    adapter = metadata.get("general.type") == "adapter"
    return ModelFacts(
        name=printable(first.file.path),
        format="adapter" if adapter else "gguf",
        architecture=architecture,
        parameters=sum(part.parameters for part in parts),
        embedding_dimension=positive(metadata, f"{architecture}.embedding_length"),
        base_model=_gguf_base(metadata) if adapter else "",
    )


def _gguf_base(metadata: Mapping[str, Any]) -> str:
    address = short_text(metadata.get("general.base_model.0.repo_url"))
    return address.removeprefix(_HUB) or short_text(metadata.get("general.base_model.0.name"))


def _add_folder_models(folder: Folder, inspection: Inspection) -> None:
    weights = folder.of_format("safetensors") or folder.of_format("pickle")
    adapter = _object(folder.files.get("adapter_config.json"), inspection)
    if adapter is not None:
        own = [part for part in weights if part.file.name.startswith("adapter_")]
        inspection.models.append(_adapter_facts(folder, adapter, own))
        weights = [part for part in weights if part not in own]
    if weights and any(part.format == "safetensors" or _is_model(part) for part in weights):
        inspection.models.append(_model_facts(folder, weights, inspection))


def _is_model(part: Weights) -> bool:
    # training_args.bin, optimizer.pt, scheduler.pt … are pickles but no models
    return part.file.name.startswith(("pytorch_model", "model", "consolidated"))


def _adapter_facts(folder: Folder, config: dict[str, Any], parts: list[Weights]) -> ModelFacts:
    return ModelFacts(
        name=printable(folder.path),
        format="adapter",
        architecture=short_text(config.get("peft_type")),
        parameters=sum(part.parameters for part in parts),
        base_model=short_text(config.get("base_model_name_or_path")),
    )


def _model_facts(folder: Folder, parts: list[Weights], inspection: Inspection) -> ModelFacts:
    config = next(
        (
            document
            for name in _CONFIGS
            if (document := _object(folder.files.get(name), inspection)) is not None
        ),
        None,
    )
    _check_company(folder, config, inspection)
    architectures = (config or {}).get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    return ModelFacts(
        name=printable(folder.path),
        format=parts[0].format,
        architecture=short_text(named),
        parameters=sum(part.parameters for part in _counted(folder, parts)),
        embedding_dimension=_dimension(folder, config or {}, inspection),
    )


def _counted(folder: Folder, parts: list[Weights]) -> list[Weights]:
    # Some repositories hold the same weights twice: sharded, and consolidated in one file.
    sharded = [part for part in parts if "-of-" in part.file.name]
    indexed = any(name.endswith(f".safetensors{_INDEX_SUFFIX}") for name in folder.files)
    return sharded if indexed and sharded else parts


def _check_company(folder: Folder, config: dict[str, Any] | None, inspection: Inspection) -> None:
    place = folder.path or "."
    if config is None:
        if not any(name in folder.files for name in _CONFIGS):
            detail = "weights without a config.json beside them"
            inspection.reading.note("config-missing", place, detail, severity="warning")
        return
    is_language_model = "architectures" in config or "model_type" in config
    if is_language_model and not _TOKENIZERS & folder.files.keys():
        detail = "weights without a tokenizer beside them"
        inspection.reading.note("tokenizer-missing", place, detail, severity="warning")


def _dimension(folder: Folder, config: dict[str, Any], inspection: Inspection) -> int | None:
    projected = _projected_dimension(folder, inspection)
    if projected is not None:
        return projected
    nested = config.get("text_config")
    return positive(config, *_HIDDEN_SIZE) or (
        positive(nested, *_HIDDEN_SIZE) if isinstance(nested, dict) else None
    )


def _projected_dimension(folder: Folder, inspection: Inspection) -> int | None:
    """Return what the last dense layer of a sentence-transformers model makes of the vectors."""
    modules = _document(folder.files.get("modules.json"), inspection)
    for module in reversed(modules if isinstance(modules, list) else []):
        if not isinstance(module, dict) or not str(module.get("type")).endswith(".Dense"):
            continue
        config = folder.in_it(f"{module.get('path')}/config.json")
        dense = _object(inspection.files.get(config), inspection)
        return positive(dense or {}, "out_features")
    return None


def _object(file: ModelFile | None, inspection: Inspection) -> dict[str, Any] | None:
    """Return a JSON object beside the weights; None when absent or broken, which is noted."""
    value = _document(file, inspection)
    if file is not None and value is not None and not isinstance(value, dict):
        inspection.reading.note("document-invalid", file.path, "its JSON is no object")
    return value if isinstance(value, dict) else None


def _document(file: ModelFile | None, inspection: Inspection) -> object:
    if file is None:
        return None
    try:
        return read_document(file.location, file.path, fault="document-invalid")
    except HeaderError as error:
        inspection.reading.note(error.name, file.path, error.cause)
    except OSError as error:
        inspection.reading.findings.append(unreadable_finding(file.path, error))
    return None
