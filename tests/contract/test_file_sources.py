"""The drivers of files against the contract of every source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.deployment import hf_cache as hub_layout
from llmvault.sources.configs import Configurations
from llmvault.sources.env_secrets import EnvSecrets
from llmvault.sources.env_secrets.store import LISTING
from llmvault.sources.hf_cache import HuggingFaceCache
from llmvault.sources.interface import Source
from llmvault.sources.model_dir import ModelDirectory
from llmvault.sources.ollama import OllamaModels
from tests.contract.source import (
    LocatesModelContract,
    SourceContract,
    SourceExample,
    local_ports,
)
from tests.fakes import source_configs
from tests.fakes.gguf_model import write_embedding_model, write_language_model
from tests.fakes.model_folder import write_adapter, write_model
from tests.fakes.ollama_models import write_ollama_model

REPO = "acme/tiny-llama"
OTHER = "acme/tiny-bert"


def make_hub(tmp_path: Path, *, sharded: bool = False) -> tuple[Path, str]:
    """Lay two models out as a cache; return the hub and the commit of :data:`REPO`."""
    hub = tmp_path / "live" / "hub"
    model = write_model(tmp_path / "upload", shards=3 if sharded else 1)
    commit = hub_layout.write(hub, REPO, hub_layout.list_files(model))
    other = write_model(tmp_path / "upload-other")
    hub_layout.write(hub, OTHER, hub_layout.list_files(other))
    return hub, commit


class TestHuggingFaceCache(SourceContract, LocatesModelContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        hub, commit = make_hub(tmp_path)
        config = source_configs.hf_cache(hub, (REPO, commit))
        folder = f"models--{REPO.replace('/', '--')}"
        return SourceExample(
            HuggingFaceCache("cache", config, local_ports()),
            files=frozenset(
                {
                    f"{folder}/snapshots/{commit}/model.safetensors",
                    f"{folder}/snapshots/{commit}/config.json",
                    f"{folder}/refs/main",
                    f"{folder}/trees/{commit}.json",
                    "CACHEDIR.TAG",
                }
            ),
            models=frozenset({REPO, OTHER}),
            directory=hub,
        )

    @pytest.fixture
    def model(self) -> str:
        return REPO

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = source_configs.hf_cache(tmp_path / "absent")
        return HuggingFaceCache("cache", config, local_ports())

    def damage(self, restored: Path) -> None:
        config = next(restored.glob("models--*/snapshots/*/config.json"))
        blob = config.resolve()
        blob.write_bytes(blob.read_bytes().replace(b"Llama", b"Lamma"))


class TestHuggingFaceHome(TestHuggingFaceCache):
    """The same cache named by HF_HOME, the folder above the hub, losing a blob."""

    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        hub, commit = make_hub(tmp_path, sharded=True)
        (hub.parent / "token").write_text("hf_secret")
        config = source_configs.hf_cache(hub.parent, (REPO, commit))
        return SourceExample(
            HuggingFaceCache("cache", config, local_ports()),
            files=frozenset({f"models--{REPO.replace('/', '--')}/refs/main"}),
            models=frozenset({REPO, OTHER}),
            directory=hub.parent,
            secrets=("hf_secret",),
        )

    def damage(self, restored: Path) -> None:
        weights = next(restored.glob("models--*/snapshots/*/model-00002-of-00003.safetensors"))
        weights.resolve().unlink()


class TestModelDirectory(SourceContract, LocatesModelContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        write_model(root / "chat", shards=2)
        write_adapter(root / "adapter", base="chat")
        write_embedding_model(root / "embedding.gguf")
        (root / "notes").mkdir()
        (root / "notes" / "empty.txt").touch()
        (root / "latest").symlink_to("chat")
        config = source_configs.model_dir(root)
        return SourceExample(
            ModelDirectory("weights", config, local_ports()),
            files=frozenset(
                {
                    "chat/model-00001-of-00002.safetensors",
                    "chat/config.json",
                    "adapter/adapter_config.json",
                    "embedding.gguf",
                    "notes/empty.txt",
                }
            ),
            models=frozenset({"chat", "adapter", "embedding.gguf"}),
            directory=root,
        )

    @pytest.fixture
    def model(self) -> str:
        return "embedding.gguf"

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = source_configs.model_dir(tmp_path / "absent")
        return ModelDirectory("weights", config, local_ports())

    def damage(self, restored: Path) -> None:
        weights = restored / "embedding.gguf"
        weights.write_bytes(weights.read_bytes()[:-64])


class TestModelDirectoryWithOtherShapes(TestModelDirectory):
    """The same directory whose weights come back as valid files of other tensors."""

    def damage(self, restored: Path) -> None:
        write_model(restored / "other")
        good = (restored / "other" / "model.safetensors").read_bytes()
        (restored / "adapter" / "adapter_model.safetensors").write_bytes(good)


class TestOllamaModels(SourceContract, LocatesModelContract):
    LINKED = False

    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        chat = write_language_model(tmp_path / "chat.gguf").read_bytes()
        embedder = write_embedding_model(tmp_path / "embedder.gguf").read_bytes()
        host = "registry.ollama.ai"
        digest = write_ollama_model(root, f"{host}/library/chat/1b", chat, linked=self.LINKED)
        write_ollama_model(root, f"{host}/acme/embedder/latest", embedder, linked=self.LINKED)
        folder = "manifests-v2" if self.LINKED else "manifests"
        config = source_configs.ollama(root, ("chat:1b", digest), ("acme/embedder", None))
        return SourceExample(
            OllamaModels("ollama", config, local_ports()),
            files=frozenset({f"{folder}/{host}/library/chat/1b"}),
            models=frozenset({"chat:1b", "acme/embedder:latest"}),
            directory=root,
        )

    @pytest.fixture
    def model(self) -> str:
        return "chat:1b"

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = source_configs.ollama(tmp_path / "absent")
        return OllamaModels("ollama", config, local_ports())

    def damage(self, restored: Path) -> None:
        largest = max((restored / "blobs").iterdir(), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-64])


class TestOllamaModelsByLinks(TestOllamaModels):
    """The same models as newer versions lay them out, one small blob changed."""

    LINKED = True

    def damage(self, restored: Path) -> None:
        smallest = min((restored / "blobs").iterdir(), key=lambda path: path.stat().st_size)
        smallest.write_bytes(smallest.read_bytes().swapcase())


class TestConfigurations(SourceContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        files = {
            "nginx/nginx.conf": "worker_processes 1;\n",
            "systemd/vllm.service": "[Service]\nExecStart=/usr/bin/vllm\n",
            "prompts/system.md": "You answer briefly.\n",
            "prompts/chat.jinja": "{{ messages }}\n",
            "cache/noise.bin": "not included",
        }
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        (root / "nginx" / "nginx.conf").chmod(0o640)
        (root / "prompts" / "default.md").symlink_to("system.md")
        config = source_configs.configs(root, "nginx", "systemd/*.service", "prompts/**")
        return SourceExample(
            Configurations("configs", config, local_ports()),
            files=frozenset({*files, "prompts/default.md"} - {"cache/noise.bin"}),
            directory=root,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = source_configs.configs(tmp_path / "absent")
        return Configurations("configs", config, local_ports())

    def damage(self, restored: Path) -> None:
        (restored / "nginx" / "nginx.conf").chmod(0o644)


class TestConfigurationsWithEverything(TestConfigurations):
    """A whole directory without patterns, whose prompt comes back changed."""

    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        root.mkdir()
        (root / "settings.json").write_text(json.dumps({"temperature": 0}))
        (root / "answer.prompt").write_text("Answer in one sentence.")
        return SourceExample(
            Configurations("configs", source_configs.configs(root), local_ports()),
            files=frozenset({"settings.json", "answer.prompt"}),
            directory=root,
        )

    def damage(self, restored: Path) -> None:
        (restored / "answer.prompt").write_text("Answer in two sentences.")


class TestEnvSecrets(SourceContract):
    """Secrets, of which a capture holds names and keyed digests alone."""

    VALUES = ("hf_hunter2", "correct horse battery staple")

    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        root.mkdir()
        (root / "vllm.env").write_text(f"HF_TOKEN={self.VALUES[0]}\n")
        (root / "database").write_text(self.VALUES[1])
        for path in root.iterdir():
            path.chmod(0o600)
        return SourceExample(
            self.driver(root),
            files=frozenset({LISTING}),
            directory=root,
            secrets=self.VALUES,
        )

    def driver(self, root: Path) -> EnvSecrets:
        ports = local_ports({"DIGEST_KEY": "0f" * 32})
        return EnvSecrets("secrets", source_configs.env_secrets(root), ports)

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return self.driver(tmp_path / "absent")

    def damage(self, restored: Path) -> None:
        listing = restored / LISTING
        listing.write_text(listing.read_text().replace("database", "databases"))
