"""Relative paths are relative to the file that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.policy.ledger import CommandWitness, DirectoryWitness
from llmvault.policy.model import CompletionGolden
from llmvault.policy.resolve import absolute
from llmvault.policy.sources import ModelDirSource, PostgresSource
from tests.fakes.policy_files import load

FILE = Path("/etc/llmvault/policies/sources.yaml")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("models", "/etc/llmvault/policies/models"),
        ("../models", "/etc/llmvault/models"),
        ("./a/../b/", "/etc/llmvault/policies/b"),
        ("/srv/a/../b", "/srv/a/../b"),
        ("~/models", "~/models"),
        ("", ""),
    ],
)
def test_absolute(written: str, meant: str) -> None:
    assert absolute(written, FILE) == meant


def test_paths_urls_and_secrets_are_resolved_where_they_are_written(tmp_path: Path) -> None:
    base = tmp_path.resolve()
    (base / "prompts.txt").write_text("hello\n")
    loaded = load(
        base / "policies",
        {
            "a.yaml": """
                repositories:
                  local: {url: ../repository, password: "file:../secrets/p"}
                  prefixed: {url: "local:../other", password: "env:P"}
                  remote:
                    url: s3:https://s3.example.org/bucket
                    password: "cmd:pass show backup"
                    environment: {AWS_SECRET_ACCESS_KEY: "file:../secrets/s3"}
                sources:
                  models: {kind: model_dir, path: ../models}
                  database:
                    kind: postgres
                    url: postgresql://postgres@/documents?host=../run&connect_timeout=3
                    binaries: ${NO_SUCH_VARIABLE:-}
                engines:
                  language: {kind: llamacpp, source: models, model: a/b.gguf}
                goldens:
                  answers: {kind: completion, engine: language, prompts_file: ../prompts.txt}
                """,
            "overrides.d/host.yaml": "sources: {models: {path: ../../elsewhere}}",
        },
    )
    policy = loaded.policy
    assert policy.repositories["local"].url == f"{base}/repository"
    assert policy.repositories["prefixed"].local_path == base / "other"
    assert str(policy.repositories["local"].password) == f"file:{base}/secrets/p"
    remote = policy.repositories["remote"]
    assert remote.url == "s3:https://s3.example.org/bucket"
    assert str(remote.password) == "cmd:pass show backup"
    assert str(remote.environment["AWS_SECRET_ACCESS_KEY"]) == f"file:{base}/secrets/s3"
    models, database = policy.sources["models"], policy.sources["database"]
    assert isinstance(models, ModelDirSource)
    assert isinstance(database, PostgresSource)
    assert models.path == base / "elsewhere"
    socket = f"postgresql://postgres@/documents?host={base}/run&connect_timeout=3"
    assert database.url == socket
    assert database.binaries is None
    golden = policy.goldens["answers"]
    assert isinstance(golden, CompletionGolden)
    assert golden.prompts_file == base / "prompts.txt"
    assert policy.engines["language"].model == "a/b.gguf"


def test_a_linked_policy_directory_counts_where_it_really_is(tmp_path: Path) -> None:
    base = tmp_path.resolve()
    (base / "link").symlink_to("real/policies")
    (base / "real" / "policies").mkdir(parents=True)
    loaded = load(base / "link", "sources: {a: {kind: model_dir, path: ../models}}")
    source = loaded.policy.sources["a"]
    assert isinstance(source, ModelDirSource)
    assert source.path == base / "real" / "models"


def test_paths_inside_a_section_are_resolved_too(tmp_path: Path) -> None:
    text = """
        ledger:
          witnesses:
            share: {kind: directory, path: ../share}
            mail: {kind: command, publish: [./mail, x], fetch: [./fetch]}
          time_stamps: {url: "https://tsa.example/x", certificates: tsa.pem}
    """
    ledger = load(tmp_path.resolve(), {"a.yaml": text}).policy.ledger
    share, mail = ledger.witnesses["share"], ledger.witnesses["mail"]
    assert isinstance(share, DirectoryWitness)
    assert share.path == tmp_path.resolve().parent / "share"
    assert isinstance(mail, CommandWitness)
    assert mail.publish == ("./mail", "x")
    assert ledger.time_stamps is not None
    assert ledger.time_stamps.certificates == tmp_path.resolve() / "tsa.pem"
    assert ledger.time_stamps.url == "https://tsa.example/x"
