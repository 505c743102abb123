"""How Ollama lays models out: manifests that name blobs, and blobs named by their SHA-256.

``manifests/HOST/NAMESPACE/MODEL/TAG`` is the manifest itself; in ``manifests-v2``, which newer
versions write and prefer, it is a link to a blob. Models share blobs. See ``manifest/`` and
``docs/faq.mdx`` in https://github.com/ollama/ollama.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.sources.formats.documents import parse_strictly
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.names import printable, short_text
from llmvault.sources.interface import Finding
from llmvault.sources.ollama.names import ModelName, name_of_path
from llmvault.sources.walk import Tree, follow, link_cause, unreadable_finding

BLOBS = "blobs"
MANIFESTS = ("manifests-v2", "manifests")
_LIST = "application/vnd.ollama.manifest.list.v2+json"
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_LARGEST_MANIFEST = 8 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob that a manifest names.

    Attributes:
        digest: SHA-256, 64 hexadecimal digits.
        size: bytes that the manifest promises; None when it promises nothing.
        media_type: what it is, without parameters; ``manifest`` for a manifest kept as a blob.
    """

    digest: str
    size: int | None
    media_type: str

    @property
    def path(self) -> str:
        """Where it lies, relative to the models' directory."""
        return f"{BLOBS}/sha256-{self.digest}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what it consists of.

    Attributes:
        path: of its manifest, relative to the models' directory.
        digest: SHA-256 of the manifest; its first twelve digits are the ID of ``ollama list``.
        layers: without repetition, in the order of the manifest.
    """

    name: ModelName
    path: str
    digest: str
    layers: tuple[Layer, ...]

    def paths(self) -> tuple[str, ...]:
        """Return every file and link that it needs."""
        return (self.path, *(layer.path for layer in self.layers))


@dataclass(slots=True)
class Models:
    """What was found in a directory; manifests that are no good have a finding."""

    models: dict[ModelName, Model] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def models_directory(root: Path) -> Path:
    """Return the directory with the manifests: the root, or ``models`` in it (``~/.ollama``)."""
    nested = root / "models"
    has_own = any((root / folder).is_dir() for folder in MANIFESTS)
    return nested if not has_own and nested.is_dir() else root


def read_models(tree: Tree) -> Models:
    """Return every model whose manifest can be read; ``manifests-v2`` wins, as in Ollama."""
    found = Models()
    for folder in MANIFESTS:
        for entry in tree.entries:
            name = _manifest_name(folder, entry.path)
            if name is None or entry.kind not in ("file", "symlink") or name in found.models:
                continue
            link = follow(tree, entry) if entry.kind == "symlink" else None
            if link and link.problem:
                cause = link_cause(entry, link)
                found.findings.append(
                    Finding("manifest-missing", printable(entry.path), cause, "failed")
                )
                continue
            model = _read_model(tree, name, entry.path, link.path if link else "", found.findings)
            if model is not None:
                found.models[name] = model
    return found


def _manifest_name(folder: str, path: str) -> ModelName | None:
    below = path.removeprefix(f"{folder}/")
    return name_of_path(below) if below != path else None


def _read_model(
    tree: Tree, name: ModelName, path: str, linked: str, findings: list[Finding]
) -> Model | None:
    try:
        raw = _read(tree.root / (linked or path), path)
        digest = hashlib.sha256(raw).hexdigest()
        layers = list(_layers(tree, _object(raw, path), path))
    except HeaderError as error:
        findings.append(Finding(error.name, printable(path), error.cause, "failed"))
        return None
    except OSError as error:
        findings.append(unreadable_finding(path, error))
        return None
    if linked:
        layers.insert(0, Layer(_linked_digest(linked), None, "manifest"))
        if linked != layers[0].path or layers[0].digest != digest:
            cause = "it is a link to something else than the blob with its own digest"
            findings.append(Finding("manifest-corrupt", printable(path), cause, "failed"))
            return None
    return Model(name, path, digest, tuple(dict.fromkeys(layers)))


def _linked_digest(path: str) -> str:
    match = _DIGEST.fullmatch(path.rpartition("/")[2])
    return match[1].lower() if match else ""


def _read(location: Path, path: str) -> bytes:
    with location.open("rb") as stream:
        raw = stream.read(_LARGEST_MANIFEST + 1)
    if len(raw) > _LARGEST_MANIFEST:
        raise HeaderError(path, "manifest-invalid", "it is larger than any manifest")
    return raw


def _object(raw: bytes, path: str) -> Mapping[str, Any]:
    document = parse_strictly(raw, path, fault="manifest-invalid")
    if not isinstance(document, dict):
        raise HeaderError(path, "manifest-invalid", "it is no JSON object")
    return document


def _layers(tree: Tree, manifest: Mapping[str, Any], path: str) -> Iterator[Layer]:
    if manifest.get("mediaType") == _LIST:
        for child in _objects(manifest.get("manifests"), path):
            yield from _child_layers(tree, child, path)
        return
    listed = [manifest.get("config"), *_objects(manifest.get("layers"), path)]
    if len(listed) < 2:
        raise HeaderError(path, "manifest-invalid", "it names no layer")
    for layer in listed:
        if isinstance(layer, dict) and layer.get("digest"):
            yield _layer(layer, path)


def _child_layers(tree: Tree, child: Mapping[str, Any], path: str) -> Iterator[Layer]:
    if not child.get("digest"):
        yield from _layers(tree, child, path)
        return
    reference = Layer(_digest(child, path), None, "manifest")
    yield reference
    # a blob that is absent has its own finding, as a layer
    if reference.path in tree.by_path:
        raw = _read(tree.root / reference.path, path)
        if hashlib.sha256(raw).hexdigest() == reference.digest:
            yield from _layers(tree, _object(raw, path), path)


def _layer(layer: Mapping[str, Any], path: str) -> Layer:
    size = layer.get("size")
    if type(size) is not int or size < 0:
        raise HeaderError(path, "manifest-invalid", "a layer has no size")
    media_type = short_text(layer.get("mediaType")).partition(";")[0].strip()
    return Layer(_digest(layer, path), size, media_type)


def _digest(layer: Mapping[str, Any], path: str) -> str:
    match = _DIGEST.fullmatch(str(layer.get("digest")))
    if match is None:
        raise HeaderError(path, "manifest-invalid", "a layer's digest is no SHA-256")
    return match[1].lower()


def _objects(value: object, path: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise HeaderError(path, "manifest-invalid", "it names no layers")
    return value


def layers_of(models: Iterable[Model]) -> dict[str, Layer]:
    """Return every blob of some models, each once, by path."""
    return {layer.path: layer for model in models for layer in model.layers}
