"""A small LLM deployment in a folder, its policies, and llmvault run on it as people run it.

Everything is named relative to the policy files, so a copy of the folder is another deployment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from examples.deployment import hf_cache
from tests.fakes.gguf_model import write_embedding_model, write_language_model
from tests.fakes.model_folder import write_adapter, write_model
from tests.fakes.quick_repository import PASSWORD, write_quick_repository

HUB_REPOSITORY = "acme/tiny-llama"
VARIABLES = ("LLMVAULT_", "RESTIC_", "XDG_STATE_HOME", "AWS_")

if TYPE_CHECKING:
    from chromadb.api.client import Client

SMALL_POLICY = """
    version: 1
    defaults:
      engine: {start_timeout: 60s, request_timeout: 30s}
    repositories:
      primary: {url: ../repository, password: "file:../secrets/password"}
    sources:
      model: {kind: model_dir, path: ../live/model}
      configs: {kind: configs, path: ../live/config}
    engines:
      language: {kind: llamacpp, source: model, model: language.gguf}
    goldens:
      answers:
        kind: completion
        engine: language
        max_tokens: 8
        prompts: [a backup, a drill, restore the model, verify]
    plans:
      nightly:
        sources: [model, configs]
        repositories: [primary]
        objectives: {rto: 15m, rpo: 24h}
        drill: {engines: [language], goldens: [answers]}
"""

WHOLE_POLICY = """
    version: 1
    defaults:
      engine: {start_timeout: 60s, request_timeout: 30s}
    repositories:
      primary: {url: ../repository, password: "file:../secrets/password"}
    sources:
      hub:
        kind: hf_cache
        path: ../live/hub
        models: [{repo: acme/tiny-llama, revision: COMMIT}]
      model: {kind: model_dir, path: ../live/model}
      adapter: {kind: model_dir, path: ../live/adapter, base_model: acme/tiny-llama}
      configs: {kind: configs, path: ../live/config}
      passages: {kind: chroma, path: ../live/chroma, collections: [documents]}
    engines:
      language: {kind: llamacpp, source: model, model: language.gguf}
      embedding: {kind: llamacpp, source: model, model: embedding.gguf, embedding: true}
    goldens:
      answers:
        kind: completion
        engine: language
        max_tokens: 8
        prompts: [a backup, a drill, restore the model, verify]
      vectors: {kind: embedding, engine: embedding, texts: [a backup, restore the model]}
      neighbours:
        kind: neighbours
        source: passages
        collection: documents
        engine: embedding
        k: 3
        queries: [a backup, a drill, restore the model, verify]
    plans:
      nightly:
        sources: [hub, model, adapter, configs, passages]
        repositories: [primary]
        objectives: {rto: 15m, rpo: 24h}
        drill: {engines: [language, embedding], goldens: [answers, vectors, neighbours]}
"""


@dataclass(frozen=True)
class Completed:
    """A command line that has ended."""

    arguments: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @cached_property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output; fails when anything else is there."""
        try:
            told = json.loads(self.stdout)
        except ValueError as error:
            raise AssertionError(f"no single JSON document: {self}") from error
        assert isinstance(told, dict)
        return told

    @property
    def error(self) -> dict[str, Any]:
        """What the document says of an error."""
        found: dict[str, Any] = self.document["error"]
        return found

    def named(self, collection: str, name: str) -> dict[str, Any]:
        """Return the entry of a list in the document by its ``name``."""
        (found,) = [one for one in self.document[collection] if one["name"] == name]
        return dict(found)

    def bad(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return (check, source) -> (verdict, detail) of all checks that are not proven."""
        return {
            (check["name"], check["source"]): (check["verdict"], check["detail"])
            for check in self.document["checks"]
            if check["verdict"] != "proven"
        }


@dataclass(frozen=True)
class Deployment:
    """A folder with ``live`` (what is protected), ``policies``, ``repository``, ``state``.

    Every process started from here inherits a variable with its name, to find orphans by.
    """

    base: Path

    @property
    def live(self) -> Path:
        """What the sources name."""
        return self.base / "live"

    @property
    def state(self) -> Path:
        """Catalog, manifests, reports."""
        return self.base / "state"

    @property
    def repository(self) -> Path:
        """The restic repository."""
        return self.base / "repository"

    @property
    def policies(self) -> Path:
        """The policy files."""
        return self.base / "policies"

    def variables(self, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """Return the environment of a command: nothing of the caller's own installation."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
        return {
            **own,
            "LLMVAULT_POLICIES": str(self.policies),
            "LLMVAULT_STATE": str(self.state),
            "LLMVAULT_HOST": "tests",
            "LLMVAULT_TEST_MARK": str(self.base),
            **more,
        }

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Return the argv of a command line."""
        return [sys.executable, "-m", "llmvault", *arguments]

    def run(
        self,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Completed:
        """Run one command line to its end; `more` is added to its environment."""
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            env=self.variables(more),
            cwd="/",
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=120,
        )
        return Completed(arguments, done.returncode, done.stdout, done.stderr)

    def start(
        self, *arguments: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        """Start a command line; its output is thrown away."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.variables(more),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def restic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run restic itself on the repository."""
        return subprocess.run(
            [restic_program(), *arguments],
            env=self.variables(
                {
                    "RESTIC_REPOSITORY": str(self.repository),
                    "RESTIC_PASSWORD": PASSWORD,
                    "RESTIC_CACHE_DIR": str(self.base / "restic-cache"),
                }
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def override(self, text: str, name: str = "test") -> None:
        """Let this host's policy differ from the files."""
        place = self.policies / "overrides.d" / f"{name}.yaml"
        place.parent.mkdir(exist_ok=True)
        place.write_text(textwrap.dedent(text), encoding="utf-8")

    def copy(self, base: Path) -> Deployment:
        """Return an independent copy of everything, in a new folder."""
        shutil.copytree(self.base, base, symlinks=True)
        return Deployment(base)

    def processes(self) -> set[int]:
        """Return the ids of the processes that run on behalf of this deployment."""
        mark = f"LLMVAULT_TEST_MARK={self.base}".encode()
        found = set()
        for place in Path("/proc").glob("[0-9]*"):
            try:
                variables = (place / "environ").read_bytes().split(b"\0")
                state = (place / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in variables and state != "Z":
                found.add(int(place.name))
        return found

    def wait_until_still(self, seconds: float = 20) -> None:
        """Wait until nothing runs on behalf of this deployment; fail when something goes on."""
        give_up = time.monotonic() + seconds
        while left := self.processes() | dead_but_unreaped("restic"):
            assert time.monotonic() < give_up, [command_line(pid) for pid in left]
            time.sleep(0.05)


def dead_but_unreaped(name: str) -> set[int]:
    """Return dead processes of a name that nobody has taken note of.

    To restic the holder of a lock is alive as long as its id answers to signals, and theirs do.
    """
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            comm, _, rest = (place / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if comm == name and rest.split()[0] == "Z":
            found.add(int(place.name))
    return found


def command_line(pid: int) -> str:
    """Return how a process was started, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return f"process {pid}, gone meanwhile"


def restic_program() -> str:
    """Return the restic that the tests use."""
    program = shutil.which("restic")
    assert program is not None, "restic is not on PATH: scripts/test puts it there"
    return program


def make_small(base: Path) -> Deployment:
    """Make a deployment of one model folder, some configuration and an empty repository."""
    live = base / "live"
    write_model(live / "model", shards=2)
    write_language_model(live / "model" / "language.gguf")
    _write_configs(live / "config")
    return _with_policy(base, SMALL_POLICY)


def make_whole(base: Path) -> Deployment:
    """Make a deployment with a hub cache, models, an adapter, configuration, Chroma and no
    recovery point yet."""
    live = base / "live"
    write_model(live / "model", shards=2)
    write_language_model(live / "model" / "language.gguf")
    write_embedding_model(live / "model" / "embedding.gguf")
    write_adapter(live / "adapter", base=HUB_REPOSITORY)
    _write_configs(live / "config")
    commit = write_hub(live / "hub", base / "upload")
    _write_chroma(live / "chroma")
    return _with_policy(base, WHOLE_POLICY.replace("COMMIT", commit))


def write_hub(hub: Path, upload: Path) -> str:
    """Write a model into a Hugging Face cache by hand; return its commit."""
    commit = hf_cache.write(hub, HUB_REPOSITORY, hf_cache.list_files(write_model(upload)))
    shutil.rmtree(upload)
    return commit


def _write_configs(folder: Path) -> None:
    (folder / "prompts").mkdir(parents=True)
    (folder / "prompts" / "system.md").write_text("You answer from the passages only.\n")
    (folder / "nginx.conf").write_text("server { listen 443 ssl; }\n")
    (folder / "nginx.conf").chmod(0o640)


def chroma_client(folder: Path) -> Client:
    """Open a Chroma directory; use it as a context manager."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    return cast("Client", chromadb.PersistentClient(str(folder), settings=settings))


def _write_chroma(folder: Path) -> None:
    import numpy as np

    random = np.random.default_rng(7)
    with chroma_client(folder) as client:
        documents = client.create_collection("documents", embedding_function=None)
        documents.add(
            ids=[f"passage-{number}" for number in range(40)],
            embeddings=random.normal(size=(40, 64)).astype(np.float32),
            documents=[f"passage {number}" for number in range(40)],
        )


def _with_policy(base: Path, policy: str) -> Deployment:
    for folder in ("policies", "secrets"):
        (base / folder).mkdir()
    (base / "policies" / "policy.yaml").write_text(textwrap.dedent(policy), encoding="utf-8")
    (base / "secrets" / "password").write_text(f"{PASSWORD}\n")
    (base / "secrets" / "password").chmod(0o600)
    write_quick_repository(base / "repository")
    return Deployment(base)
