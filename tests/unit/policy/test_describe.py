"""What people are shown of a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError
from llmvault.policy.describe import describe
from llmvault.policy.shape import sections
from llmvault.policy.tree import Layer
from tests.fakes.policy_files import load

TEXT = """
    repositories:
      primary: {url: "rest:https://u:hunter2@host/", password: "file:/run/secrets/p"}
    sources:
      llama-3.1: {kind: model_dir, path: /srv/models, exclude: ["*.tmp", ".*"]}
    engines:
      server:
        kind: openai
        source: llama-3.1
        model: .
        command: [vllm, serve, --api-key, hunter2]
        environment: {HF_TOKEN: hunter2, HOME: /srv}
    goldens:
      answers:
        kind: completion
        engine: server
        prompts: [A first rather long question?, A second rather long question?, And a third?]
"""


def test_everything_is_shown_without_secrets(tmp_path: Path) -> None:
    shown = {one.path: one for one in describe(load(tmp_path, TEXT))}
    assert "hunter2" not in "".join(one.text() for one in shown.values())
    assert shown["repositories.primary.url"].text() == "rest:https://u:***@host/"
    assert shown["repositories.primary.password"].text() == "file:/run/secrets/p"
    assert shown["engines.server.environment.HF_TOKEN"].text() == "***"
    assert shown["engines.server.command"].text() == "vllm, serve, --api-key, ***"


def test_short_lists_are_one_value_and_long_ones_several(tmp_path: Path) -> None:
    shown = {one.path: one for one in describe(load(tmp_path, TEXT))}
    excluded = shown['sources["llama-3.1"].exclude']
    assert (excluded.item, excluded.key, excluded.text()) == ("llama-3.1", "exclude", "*.tmp, .*")
    assert shown["goldens.answers.prompts[2]"].text() == "And a third?"
    assert shown["goldens.answers.prompts_file"].text() == "not set"
    assert shown["repositories.primary.environment"].text() == "none"
    assert shown["engines.server.embedding"].text() == "false"


def test_a_section_or_an_item_can_be_chosen(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT)
    assert {one.section for one in describe(loaded, "engines")} == {"engines"}
    assert {one.item for one in describe(loaded, "sources.llama-3.1")} == {"llama-3.1"}
    assert describe(loaded, "plans") == ()


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("source", 'did you mean "sources"?'),
        (
            "version",
            "known here: "
            + ", ".join(sorted({*sections(), "evidence", "ledger", "metrics", "telling"})),
        ),
        ("engines.sever", 'did you mean "server"?'),
        ("plans.nightly", "there are none"),
    ],
)
def test_what_is_not_there_is_told(selector: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        describe(load(tmp_path, TEXT), selector)
    assert caught.value.next_step == hint


def test_as_json(tmp_path: Path) -> None:
    [first, *_] = describe(load(tmp_path, TEXT), "sources.llama-3.1")
    assert first.as_json() == {
        "path": 'sources["llama-3.1"].exclude',
        "value": ["*.tmp", ".*"],
        "origin": {
            "layer": Layer.ITEM.value,
            "file": str(tmp_path.resolve() / "policy.yaml"),
            "line": 4,
            "column": 51,
            "variables": [],
        },
    }
