"""Are the blobs there, are they what their names say, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from llmvault.core.files import sha256_file
from llmvault.core.units import format_size
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import Finding, ModelFacts
from llmvault.sources.models.files import ModelFile, Reading, read_gguf
from llmvault.sources.models.folders import gguf_facts
from llmvault.sources.ollama.layout import BLOBS, Layer, Model, layers_of
from llmvault.sources.walk import Tree, unreadable_finding

# Larger blobs are hashed while the backup reads them, and when a drill verifies every byte.
LARGEST_HASHED = 16 << 20
_GGUF_TYPES = tuple(
    f"application/vnd.ollama.image.{part}" for part in ("model", "adapter", "projector", "draft")
)
MODEL_TYPE = _GGUF_TYPES[0]
_PARTIAL = re.compile(r"sha256-[0-9a-f]{64}-partial.*")


def blob_findings(tree: Tree, models: Iterable[Model]) -> Iterator[Finding]:
    """Yield what is wrong with the blobs that some models need."""
    for model in models:
        for layer in model.layers:
            entry = tree.by_path.get(layer.path)
            needed = f"{printable(model.name.short())} needs it"
            if entry is None or entry.kind != "file":
                yield Finding("blob-missing", layer.path, f"it is not there; {needed}", "failed")
            elif layer.size is not None and entry.size != layer.size:
                detail = f"it has {entry.size:,} bytes, {layer.size:,} are promised; {needed}"
                yield Finding("blob-size", layer.path, detail, "failed")


def corrupt_findings(tree: Tree, layers: Iterable[Layer]) -> Iterator[Finding]:
    """Read the small blobs, and yield those that do not hash to their names."""
    for layer in layers:
        entry = tree.by_path.get(layer.path)
        if entry is None or entry.kind != "file" or entry.size > LARGEST_HASHED:
            continue
        try:
            if sha256_file(tree.root / layer.path) != layer.digest:
                detail = "its content does not have the SHA-256 in its name"
                yield Finding("blob-corrupt", layer.path, detail, "failed")
        except OSError as error:
            yield unreadable_finding(layer.path, error)


def leftover_findings(tree: Tree, models: Iterable[Model]) -> Iterator[Finding]:
    """Yield what lies among the blobs and belongs to no model: it is left out of the backup."""
    needed = layers_of(models)
    partial, others, size = 0, 0, 0
    for entry in tree.entries:
        folder, _, name = entry.path.rpartition("/")
        if folder != BLOBS or entry.kind != "file" or entry.path in needed:
            continue
        unfinished = _PARTIAL.fullmatch(name) is not None
        partial, others = partial + unfinished, others + (not unfinished)
        size += entry.size
    if partial:
        detail = f"{partial} files of unfinished downloads are left out"
        yield Finding("incomplete-download", BLOBS, detail, "warning")
    if others:
        detail = f"{others} blobs that no manifest names are left out ({format_size(size)})"
        yield Finding("unreferenced-blob", BLOBS, detail, "warning")


def read_weights(tree: Tree, models: Iterable[Model]) -> tuple[Reading, tuple[ModelFacts, ...]]:
    """Read the header of every GGUF; return them by path, and the models they make up."""
    reading = Reading()
    facts = []
    for model in models:
        for layer in model.layers:
            entry = tree.by_path.get(layer.path)
            if layer.media_type not in _GGUF_TYPES or entry is None or entry.kind != "file":
                continue
            if layer.path not in reading.weights:
                read_gguf(ModelFile(layer.path, str(tree.root / layer.path), entry.size), reading)
            weights = reading.weights.get(layer.path)
            if weights is not None and layer.media_type == MODEL_TYPE:
                named = replace(
                    gguf_facts(weights, [weights]),
                    name=printable(model.name.short()),
                    revision=model.digest,
                )
                facts.append(named)
    return reading, tuple(facts)
