"""Layers of a policy: built-in default < defaults < item < overrides.d."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmvault.policy.loaded import LoadedPolicy, paths
from llmvault.policy.model import Plan
from llmvault.policy.shape import sections
from llmvault.policy.sources import ChromaSource
from llmvault.policy.tree import Layer, dotted
from tests.fakes.policy_files import SMALL, load, problems_of

_BUILT_IN_SAMPLE = 16
_SAMPLES = st.none() | st.integers(1, 1000)


def _layered(directory: Path, given: dict[str, int | None]) -> LoadedPolicy:
    """Load a Chroma source whose `sample` is set in some layers, JSON being YAML."""
    item: dict[str, Any] = {"kind": "chroma", "path": "/srv/chroma"}
    by_kind: dict[str, Any] = {}
    override: dict[str, Any] = {}
    for layer, target in (("kind", by_kind), ("item", item), ("override", override)):
        if given[layer] is not None:
            target["sample"] = given[layer]
    files = {
        "defaults.yaml": {"defaults": {"source": {"exclude": ["x"], "chroma": by_kind}}},
        "sources.yaml": {"sources": {"store": item}},
        "overrides.d/host.yaml": {"sources": {"store": override}},
    }
    return load(directory, {name: json.dumps(text) for name, text in files.items()})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.fixed_dictionaries({"kind": _SAMPLES, "item": _SAMPLES, "override": _SAMPLES}))
def test_the_last_layer_that_speaks_wins(tmp_path: Path, given: dict[str, int | None]) -> None:
    loaded = _layered(tmp_path, given)
    speaking = [layer for layer in ("override", "item", "kind") if given[layer] is not None]
    source = loaded.policy.sources["store"]
    assert isinstance(source, ChromaSource)
    assert source.sample == (given[speaking[0]] if speaking else _BUILT_IN_SAMPLE)
    expected = {
        "override": (Layer.OVERRIDE, "host.yaml"),
        "item": (Layer.ITEM, "sources.yaml"),
        "kind": (Layer.DEFAULTS, "defaults.yaml"),
    }
    origin = loaded.origin("sources", "store", "sample")
    found = (origin.layer, origin.place.file.name) if origin.place else (origin.layer, "")
    assert found == (expected[speaking[0]] if speaking else (Layer.BUILT_IN, ""))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.fixed_dictionaries({"kind": _SAMPLES, "item": _SAMPLES, "override": _SAMPLES}))
def test_every_value_has_an_origin(tmp_path: Path, given: dict[str, int | None]) -> None:
    loaded = _layered(tmp_path, given)
    assert loaded.origins.keys() == {dotted(keys) for keys in paths(dict(loaded.values))}
    for path, origin in loaded.origins.items():
        assert (origin.place is None) == (origin.layer is Layer.BUILT_IN), path


def test_a_default_for_a_kind_wins_over_one_for_all(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        defaults:
          source: {exclude: [all], model_dir: {exclude: [models]}}
        sources:
          models: {kind: model_dir, path: /a}
          configs: {kind: configs, path: /b}
        """,
    )
    assert loaded.policy.sources["models"].exclude == ("models",)
    assert loaded.policy.sources["configs"].exclude == ("all",)


def test_mappings_merge_and_lists_are_replaced(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {
            "policy.yaml": SMALL,
            "defaults.yaml": """
                defaults:
                  plan: {objectives: {rto: 1h, rpo: 2h}, drill: {scratch_free_factor: 2}}
                """,
            "overrides.d/10.yaml": """
                plans:
                  nightly: {objectives: {rpo: 90s}, sources: [models, extra]}
                sources:
                  extra: {kind: configs, path: ../../etc}
                """,
            "overrides.d/20.yaml": "plans: {nightly: {objectives: {rpo: 30s}}}",
        },
    )
    plan = loaded.policy.plans["nightly"]
    assert isinstance(plan, Plan)
    assert plan.objectives.rto.total_seconds() == 3600
    assert plan.objectives.rpo.total_seconds() == 30
    assert plan.drill.scratch_free_factor == 2
    assert plan.sources == ("models", "extra")
    origin = loaded.origin("plans", "nightly", "objectives", "rpo")
    assert origin.describe(loaded.directory) == "overrides.d/20.yaml:1 (override)"
    rto = loaded.origin("plans", "nightly", "objectives", "rto")
    assert rto.describe(loaded.directory) == "defaults.yaml:2 (defaults)"


def test_defaults_may_be_spread_over_files_but_not_said_twice(tmp_path: Path) -> None:
    files = {
        "a.yaml": "defaults: {source: {exclude: [a], chroma: {sample: 3}}}",
        "b.yaml": "defaults: {source: {chroma: {collections: [x]}}, repository: {connections: 2}}",
    }
    assert not problems_of(tmp_path, files)
    [problem] = problems_of(tmp_path, {**files, "c.yaml": "defaults: {source: {exclude: [c]}}"})
    assert problem.path == "defaults.source.exclude"
    assert "a.yaml:1:21" in problem.message


def test_wrong_defaults_are_told_even_if_nothing_uses_them(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """
        defaults:
          sources: {}
          source: {path: /x, exclud: [], hf_cache: {exclude: text, modells: []}}
          repository: {pack_size_mib: 1}
          engine: []
          golden: {max_tokens: 3}
        """,
    )
    assert [(one.path, one.message.partition(";")[0]) for one in problems] == [
        ("defaults.sources", "unknown key"),
        ("defaults.source.path", "only some kinds have this key"),
        ("defaults.source.exclud", "unknown key"),
        (
            "defaults.source.hf_cache.exclude",
            "should be a list ([one, two], or lines of `- one`), but is text",
        ),
        ("defaults.source.hf_cache.modells", "unknown key"),
        ("defaults.repository.pack_size_mib", "should be greater than or equal to 4"),
        ("defaults.engine", "should be a mapping (lines of `key: value`), but is a list"),
        ("defaults.golden.max_tokens", "only some kinds have this key"),
    ]


def test_a_wrong_default_is_told_once_where_it_is_written(tmp_path: Path) -> None:
    [problem] = problems_of(
        tmp_path,
        """
        defaults: {source: {exclude: text}}
        sources:
          a: {kind: model_dir, path: /a}
          b: {kind: model_dir, path: /b}
        """,
    )
    assert (problem.line, problem.path) == (1, "defaults.source.exclude")


def test_no_kind_is_called_like_a_field() -> None:
    # below defaults.source both stand side by side
    for section in sections().values():
        assert not section.kinds.keys() & section.common_fields()


def test_the_digest_names_what_holds(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    first = load(policy, SMALL)
    assert load(policy, "# a comment\n" + SMALL.replace("    ", " ")).digest == first.digest
    spelled_out = SMALL.replace("password:", "pack_size_mib: 64, password:")
    assert load(policy, spelled_out).digest == first.digest
    changed = SMALL.replace("password:", "pack_size_mib: 32, password:")
    assert load(policy, changed).digest != first.digest
    assert len(first.digest) == 64


def test_the_digest_sees_the_seconds_of_a_duration(tmp_path: Path) -> None:
    digests = {
        load(tmp_path, SMALL.replace("{sources:", f"{{objectives: {{rto: {rto}}}, sources:")).digest
        for rto in ("24h", "24h1s", "1d", "86400s")
    }
    assert len(digests) == 2


def test_the_digest_leaves_secrets_out(tmp_path: Path) -> None:
    text = """
        sources: {a: {kind: model_dir, path: /a}}
        engines:
          e:
            kind: openai
            source: a
            model: .
            command: [serve, --api-key, "${KEY}"]
            environment: {HF_TOKEN: "${KEY}"}
        """
    one, other = (load(tmp_path, text, {"KEY": key}) for key in ("hunter1", "hunter2"))
    assert one.digest == other.digest
    assert "hunter" not in str(one.values)
