"""Models laid out on disk as Ollama does it, old way (manifests) and new (links to blobs)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_DOCKER = "application/vnd.docker"
_IMAGE = "application/vnd.ollama.image"
_MANIFEST = f"{_DOCKER}.distribution.manifest.v2+json"


def write_blob(root: Path, content: bytes) -> str:
    """Write a blob and return its digest, 64 hexadecimal digits."""
    digest = hashlib.sha256(content).hexdigest()
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    (root / "blobs" / f"sha256-{digest}").write_bytes(content)
    return digest


def layer(root: Path, kind: str, content: bytes) -> dict[str, Any]:
    """Write a blob and return how a manifest names it."""
    media_type = f"{_DOCKER}.container.image.v1+json" if kind == "config" else f"{_IMAGE}.{kind}"
    digest = write_blob(root, content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def manifest_of(root: Path, gguf: bytes, *, system: str = "You answer briefly.") -> dict[str, Any]:
    """Write the blobs of a model and return its manifest; licence and template are always equal."""
    config = {"model_format": "gguf", "model_family": "llama", "rootfs": {"type": "layers"}}
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": layer(root, "config", json.dumps(config).encode()),
        "layers": [
            layer(root, "model", gguf),
            layer(root, "license", b"Apache License 2.0"),
            layer(root, "template", b"{{ .System }} {{ .Prompt }}"),
            layer(root, "system", system.encode()),
            layer(root, "params", b'{"temperature":0}'),
        ],
    }


def write_manifest(root: Path, path: str, manifest: dict[str, Any], *, linked: bool = False) -> str:
    """Write a manifest at HOST/NAMESPACE/MODEL/TAG and return its digest."""
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    place = root / ("manifests-v2" if linked else "manifests") / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if linked:
        digest = write_blob(root, raw)
        place.symlink_to(f"../../../../blobs/sha256-{digest}")
        return digest
    place.write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()


def write_ollama_model(
    root: Path, path: str, gguf: bytes, *, system: str = "You answer briefly.", linked: bool = False
) -> str:
    """Write a whole model and return the digest of its manifest."""
    return write_manifest(root, path, manifest_of(root, gguf, system=system), linked=linked)
