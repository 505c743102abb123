"""Source declarations as the policy has them, with paths filled in."""

from __future__ import annotations

from pathlib import Path

from llmvault.policy.sources import (
    ConfigsSource,
    EnvSecretsSource,
    HfCacheSource,
    ModelDirSource,
    OllamaSource,
)


def hf_cache(path: Path, *pinned: tuple[str, str], **more: object) -> HfCacheSource:
    """Declare a Hugging Face cache that must hold some (repo, revision)."""
    models = [{"repo": repo, "revision": revision} for repo, revision in pinned]
    declared = {"kind": "hf_cache", "path": path, "models": models, **more}
    return HfCacheSource.model_validate(declared)


def model_dir(path: Path, **more: object) -> ModelDirSource:
    """Declare a model directory."""
    return ModelDirSource.model_validate({"kind": "model_dir", "path": path, **more})


def ollama(path: Path, *models: tuple[str, str | None], **more: object) -> OllamaSource:
    """Declare Ollama's models: all, or some (name, digest)."""
    chosen = [{"name": name, "digest": digest} for name, digest in models]
    declared = {"kind": "ollama", "path": path, "models": chosen, **more}
    return OllamaSource.model_validate(declared)


def configs(path: Path, *include: str, **more: object) -> ConfigsSource:
    """Declare configuration files; everything when no pattern is given."""
    declared = {"kind": "configs", "path": path, "include": include or ("**",), **more}
    return ConfigsSource.model_validate(declared)


def env_secrets(path: Path, **more: object) -> EnvSecretsSource:
    """Declare files with secrets; digests are made with the variable DIGEST_KEY."""
    declared = {"kind": "env_secrets", "path": path, "key": "env:DIGEST_KEY", **more}
    return EnvSecretsSource.model_validate(declared)
