"""The JSON Schema: current, valid, and in agreement with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llmvault.policy.load import load_policy
from llmvault.policy.schema import policy_schema, schema_text
from tests.fakes.policy_files import problems_of

POLICIES = Path(__file__).parents[3] / "policies"
EXAMPLES = sorted(POLICIES.glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(policy_schema())


def test_the_committed_schema_is_current() -> None:
    committed = (POLICIES / "schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: llmvault policy schema > policies/schema.json"


def test_it_is_a_schema() -> None:
    VALIDATOR.check_schema(policy_schema())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_examples_fit(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./schema.json\n")
    VALIDATOR.validate(yaml.safe_load(text))


def test_the_examples_are_a_policy() -> None:
    policy = load_policy(POLICIES, {}).policy
    [plan] = policy.plans.values()
    assert set(plan.sources) == set(policy.sources)
    assert {source.kind for source in policy.sources.values()} == {
        *("hf_cache", "model_dir", "chroma", "postgres", "sqlite", "lancedb", "configs"),
    }
    assert set(plan.drill.goldens) == set(policy.goldens)


def test_every_field_is_explained() -> None:
    schema = policy_schema()
    for name, definition in schema["$defs"].items():
        assert definition["description"], name
        for field, value in definition.get("properties", {}).items():
            assert value.get("description"), f"{name}.{field}"


ACCEPTED: dict[str, Any] = {
    "nothing": {},
    "empty sections": {"version": 1, "sources": None, "plans": {}},
    "what defaults will complete": {"repositories": {"a": {"url": "/r"}}},
    "defaults": {
        "defaults": {
            "repository": {"password": "env:P"},
            "source": {"exclude": ["x"], "hf_cache": {"compression": "off"}},
            "plan": {"objectives": {"rto": "1h30m"}},
        }
    },
    "variables": {
        "repositories": {"a": {"url": "${URL}", "password": "${P:-env:P}", "pack_size_mib": "${N}"}}
    },
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_accepts_what_a_file_may_say(name: str) -> None:
    VALIDATOR.validate(ACCEPTED[name])


REFUSED: dict[str, Any] = {
    "unknown section": {"sorces": {}},
    "unknown key": {"sources": {"a": {"kind": "model_dir", "path": "/a", "exclud": []}}},
    "a key of another kind": {"sources": {"a": {"kind": "model_dir", "path": "/a", "models": []}}},
    "no kind": {"sources": {"a": {"path": "/a"}}},
    "unknown kind": {"sources": {"a": {"kind": "hf_cash"}}},
    "bad name": {"sources": {"My Models": {"kind": "model_dir"}}},
    "wrong type": {"sources": {"a": {"kind": "model_dir", "exclude": "b"}}},
    "out of range": {"repositories": {"a": {"pack_size_mib": 4096}}},
    "out of a choice": {"sources": {"a": {"kind": "model_dir", "compression": "of"}}},
    "password": {"repositories": {"a": {"password": "hunter2"}}},
    "duration": {"plans": {"a": {"objectives": {"rto": "soon"}}}},
    "plural in defaults": {"defaults": {"sources": {}}},
    "a kind's key in common defaults": {"defaults": {"source": {"models": []}}},
    "version": {"version": 2},
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_the_loader_refuses(name: str, tmp_path: Path) -> None:
    assert not VALIDATOR.is_valid(REFUSED[name])
    assert problems_of(tmp_path, json.dumps(REFUSED[name]))
