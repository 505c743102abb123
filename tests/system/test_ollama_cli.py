"""Ollama's models from the command line: backed up, lost, drilled with llama.cpp, restored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes.gguf_model import write_embedding_model
from tests.fakes.ollama_models import write_ollama_model
from tests.system.deployment import Deployment

pytestmark = pytest.mark.system

HOST = "registry.ollama.ai"


def declare(deployment: Deployment, scratch: Path) -> Path:
    """Let the plan protect one of two models, by its manifest, and ask it; return the directory."""
    root = deployment.live / "ollama"
    language = (deployment.live / "model" / "language.gguf").read_bytes()
    other = write_embedding_model(scratch / "other.gguf").read_bytes()
    digest = write_ollama_model(root, f"{HOST}/library/tiny/latest", language)
    write_ollama_model(root, f"{HOST}/library/other/latest", other)
    deployment.override(
        f"""
        sources:
          models:
            kind: ollama
            path: ../../live/ollama
            models: [{{name: tiny, digest: "{digest}"}}]
        engines:
          language: {{source: models, model: tiny}}
        plans:
          nightly: {{sources: [models, configs]}}
        """
    )
    return root


def test_a_lost_model_is_drilled_and_restored_as_ollama_wants_it(
    fresh: Deployment, tmp_path: Path
) -> None:
    root = declare(fresh, tmp_path)
    done = fresh.run("backup", "--json")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    assert done.named("sources", "models")["files"] == 7
    shutil.rmtree(root)

    drilled = fresh.run("drill", "--json")
    assert (drilled.exit_code, drilled.bad()) == (0, {})
    checks = {(one["name"], one["source"]) for one in drilled.document["checks"]}
    wanted = {("manifests", "models"), ("blobs", "models"), ("headers", "models")}
    assert checks >= {*wanted, ("golden:answers", "models"), ("digests", "models")}

    target = tmp_path / "back"
    restored = fresh.run("restore", "latest", "--target", str(target), "--json")
    assert (restored.exit_code, restored.document["verdict"]) == (0, "proven")
    language = (fresh.live / "model" / "language.gguf").read_bytes()
    write_ollama_model(tmp_path / "alone", f"{HOST}/library/tiny/latest", language)
    assert contents(target / "models") == contents(tmp_path / "alone")


def contents(root: Path) -> dict[str, bytes]:
    """Return every file by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_blob_that_is_not_what_its_name_says_fails_the_backup(
    fresh: Deployment, tmp_path: Path
) -> None:
    root = declare(fresh, tmp_path)
    largest = max((root / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    done = fresh.run("backup", "--json")
    assert done.exit_code == 1
    assert "SHA-256" in done.named("sources", "models")["reason"]


def test_another_model_under_the_pinned_name_is_refused(fresh: Deployment, tmp_path: Path) -> None:
    root = declare(fresh, tmp_path)
    language = (fresh.live / "model" / "language.gguf").read_bytes()
    write_ollama_model(root, f"{HOST}/library/tiny/latest", language, system="Be another.")
    done = fresh.run("backup", "--json")
    assert done.exit_code != 0
    assert "not the pinned" in done.named("sources", "models")["reason"]
