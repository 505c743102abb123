"""Ollama's models: what is taken, what is told, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.interface import TreeCapture
from llmvault.sources.ollama import OllamaModels
from llmvault.sources.ollama.names import name_of_path, parse_name
from tests.contract.source import capture_into, local_ports, through_json
from tests.fakes import source_configs
from tests.fakes.gguf_model import write_embedding_model, write_language_model
from tests.fakes.ollama_models import (
    layer,
    manifest_of,
    write_blob,
    write_manifest,
    write_ollama_model,
)

TINY = "registry.ollama.ai/library/tiny/latest"
OTHER = "registry.ollama.ai/acme/embedder/1b"


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_language_model(tmp_path_factory.mktemp("gguf") / "language.gguf").read_bytes()


@pytest.fixture(scope="session")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_embedding_model(tmp_path_factory.mktemp("gguf") / "embed.gguf").read_bytes()


def source(root: Path, *models: tuple[str, str | None], **more: object) -> OllamaModels:
    config = source_configs.ollama(root, *models, **more)
    return OllamaModels("models", config, local_ports())


def findings(driver: OllamaModels) -> set[tuple[str, str, str]]:
    return {(f.name, f.path, f.severity) for f in driver.observe().findings}


def captured(driver: OllamaModels, staging: Path) -> set[str]:
    with driver.capture(staging) as capture:
        assert isinstance(capture, TreeCapture)
        assert capture.paths is not None
        return set(capture.paths)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("tiny", "tiny:latest"),
        ("library/tiny:latest", "tiny:latest"),
        ("ollama.com/library/tiny", "tiny:latest"),
        ("acme/tiny:7b-q4", "acme/tiny:7b-q4"),
        ("hf.co/acme/tiny:Q4_K_M", "hf.co/acme/tiny:Q4_K_M"),
        ("localhost:5000/acme/tiny:1", "localhost:5000/acme/tiny:1"),
    ],
)
def test_names_are_those_of_ollama(text: str, short: str) -> None:
    assert parse_name(text).short() == short


@pytest.mark.parametrize("text", ["", "/tiny", "a/b/c/d", "..", "tiny:../../x", "a//b", ":tag"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        parse_name(text)


@pytest.mark.parametrize("path", ["host/library/tiny", "host/library/tiny/.latest", "a/b/c/d/e"])
def test_other_files_among_manifests_are_no_models(path: str) -> None:
    assert name_of_path(path) is None


def test_one_model_is_taken_without_the_blobs_of_others(
    tmp_path: Path, language: bytes, embedding: bytes
) -> None:
    root = tmp_path / "live"
    write_ollama_model(root, TINY, language)
    write_ollama_model(root, OTHER, embedding, system="You embed.")
    only = source(root, ("tiny", None))
    recorded, known = capture_into(only, tmp_path / "restored", tmp_path)
    taken = {path for path in (tmp_path / "restored").rglob("*") if path.is_file()}
    assert len(taken) == 7  # a manifest, its configuration and five layers
    assert sum(path.stat().st_size for path in taken) < len(language) + 4096
    assert {path.name for path in taken if path.parent.name == "blobs"} == {
        path.removeprefix("blobs/") for path in known
    }
    assert [facts.name for facts in recorded.models] == ["tiny:latest"]
    assert {one.verdict for one in only.check(tmp_path / "restored", through_json(recorded))} == {
        Verdict.PROVEN
    }


def test_shared_blobs_are_taken_once(tmp_path: Path, language: bytes) -> None:
    write_ollama_model(tmp_path, TINY, language)
    write_ollama_model(tmp_path, OTHER, language, system="You answer at length.")
    paths = captured(source(tmp_path), tmp_path)
    assert len(paths) == 2 + 7  # two manifests; the two models differ in one layer
    assert len(source(tmp_path).observe().models) == 2


def test_a_pinned_model_is_the_one_with_that_manifest(tmp_path: Path, language: bytes) -> None:
    digest = write_ollama_model(tmp_path, TINY, language)
    for pinned in (digest, digest[:12]):
        assert findings(source(tmp_path, ("tiny", pinned))) == set()
    with pytest.raises(RefusedError, match="not the pinned"):
        source(tmp_path, ("tiny", "0" * 64)).observe()
    assert findings(source(tmp_path, ("tiny", None))) == {("model-not-pinned", "tiny", "warning")}


def test_a_model_that_was_replaced_fails_the_check(tmp_path: Path, language: bytes) -> None:
    write_ollama_model(tmp_path / "live", TINY, language)
    recorded, _ = capture_into(source(tmp_path / "live"), tmp_path / "restored", tmp_path)
    write_ollama_model(tmp_path / "restored", TINY, language, system="Be someone else.")
    checks = source(tmp_path / "live").check(tmp_path / "restored", through_json(recorded))
    assert {check.name: check.verdict for check in checks}["manifests"] is Verdict.FAILED


def test_demanded_models_must_be_there(tmp_path: Path, language: bytes) -> None:
    write_ollama_model(tmp_path, TINY, language)
    with pytest.raises(RefusedError, match="is not there") as raised:
        source(tmp_path, ("big", None)).observe()
    assert "tiny:latest" in raised.value.next_step
    with pytest.raises(PolicyError, match="no name"):
        source(tmp_path, ("a/b/c/d", None)).observe()


def test_links_to_manifest_blobs_are_followed_and_taken(tmp_path: Path, language: bytes) -> None:
    digest = write_ollama_model(tmp_path, TINY, language, linked=True)
    write_ollama_model(tmp_path, TINY, language, system="An older one.")
    paths = captured(source(tmp_path, ("tiny", digest)), tmp_path)
    assert f"manifests-v2/{TINY}" in paths
    assert f"blobs/sha256-{digest}" in paths
    assert not [path for path in paths if path.startswith("manifests/")]


def test_the_children_of_a_list_are_taken(tmp_path: Path, language: bytes) -> None:
    child = manifest_of(tmp_path, language)
    reference = write_blob(tmp_path, json.dumps(child).encode())
    children = [
        {"mediaType": child["mediaType"], "digest": f"sha256:{reference}", "runner": "llamacpp"},
        {**manifest_of(tmp_path, language, system="Inline."), "runner": "ollama"},
    ]
    listing = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.ollama.manifest.list.v2+json",
        "manifests": children,
    }
    write_manifest(tmp_path, TINY, listing, linked=True)
    paths = captured(source(tmp_path), tmp_path)
    assert f"blobs/sha256-{reference}" in paths
    assert len(paths) == 1 + 1 + 1 + 7  # link, list, child, and what both children consist of
    assert findings(source(tmp_path)) == set()


def spoiled(root: Path, gguf: bytes, fault: str) -> None:
    """Write a model and spoil it in one way."""
    manifest = manifest_of(root, gguf)
    template, model = manifest["layers"][2], manifest["layers"][0]
    path = root / "blobs" / template["digest"].replace(":", "-")
    if fault == "blob-missing":
        path.unlink()
    elif fault == "blob-size":
        path.write_bytes(b"shorter")
    elif fault == "blob-corrupt":
        path.write_bytes(path.read_bytes().swapcase())
    elif fault == "header-truncated":
        model |= layer(root, "model", gguf[:4000])
    elif fault == "manifest-invalid":
        model["digest"] = "md5:1234"
    write_manifest(root, TINY, manifest)


@pytest.mark.parametrize(
    "fault",
    ["blob-missing", "blob-size", "blob-corrupt", "manifest-invalid", "header-truncated"],
)
def test_what_is_broken_is_never_green(tmp_path: Path, language: bytes, fault: str) -> None:
    spoiled(tmp_path, language, fault)
    grave = [found for found in source(tmp_path).observe().findings if found.severity == "failed"]
    assert [found.name for found in grave if found.name.startswith(fault.partition("-")[0])]


def test_a_demanded_model_with_a_bad_manifest_is_named(tmp_path: Path, language: bytes) -> None:
    spoiled(tmp_path, language, "manifest-invalid")
    with pytest.raises(IntegrityError, match="no SHA-256"):
        source(tmp_path, ("tiny", None)).observe()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"layers": []}', '{"layers": [1]}', '{"layers": "x"}', "\x00" * 9]
)
def test_hostile_manifests_are_findings(tmp_path: Path, text: str) -> None:
    place = tmp_path / "manifests" / TINY
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert findings(source(tmp_path)) == {("manifest-invalid", f"manifests/{TINY}", "failed")}


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../blobs/absent", "latest"])
def test_a_manifest_that_leads_elsewhere_is_a_finding(
    tmp_path: Path, language: bytes, target: str
) -> None:
    write_ollama_model(tmp_path, OTHER, language)
    place = tmp_path / "manifests-v2" / TINY
    place.parent.mkdir(parents=True)
    place.symlink_to(target)
    assert ("manifest-missing", f"manifests-v2/{TINY}", "failed") in findings(source(tmp_path))


def test_a_link_to_a_blob_that_is_another_manifest(tmp_path: Path, language: bytes) -> None:
    digest = write_ollama_model(tmp_path, TINY, language, linked=True)
    blob = tmp_path / "blobs" / f"sha256-{digest}"
    blob.write_bytes(blob.read_bytes() + b" ")
    assert ("manifest-corrupt", f"manifests-v2/{TINY}", "failed") in findings(source(tmp_path))


def test_leftovers_are_told_and_left_out(tmp_path: Path, language: bytes) -> None:
    write_ollama_model(tmp_path, TINY, language)
    stray = write_blob(tmp_path, b"nobody's")
    partial = tmp_path / "blobs" / f"sha256-{'a' * 64}-partial-0"
    partial.write_bytes(b"half")
    assert findings(source(tmp_path)) == {
        ("incomplete-download", "blobs", "warning"),
        ("unreferenced-blob", "blobs", "warning"),
    }
    paths = captured(source(tmp_path), tmp_path)
    assert not {f"blobs/sha256-{stray}", f"blobs/{partial.name}"} & paths


def test_the_folder_above_will_do(tmp_path: Path, language: bytes) -> None:
    write_ollama_model(tmp_path / "models", TINY, language)
    assert source(tmp_path).model_path(tmp_path, "tiny").parent == tmp_path / "models" / "blobs"


def test_a_folder_without_manifests_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    with pytest.raises(UnavailableError, match="holds no manifest"):
        source(tmp_path).observe()


def test_a_model_without_gguf_is_loaded_by_no_engine(tmp_path: Path) -> None:
    manifest = {
        "schemaVersion": 2,
        "config": layer(tmp_path, "config", b"{}"),
        "layers": [layer(tmp_path, "tensor; name=a.weight; dtype=BF16", b"bytes")],
    }
    write_manifest(tmp_path, TINY, manifest)
    assert findings(source(tmp_path)) == set()
    with pytest.raises(UnavailableError, match="no GGUF"):
        source(tmp_path).model_path(tmp_path, "tiny")
    with pytest.raises(RefusedError, match="no name"):
        source(tmp_path).model_path(tmp_path, "../../etc/passwd/x")
