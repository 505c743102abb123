"""Names that must exist, and choices that exclude each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.policy_files import problems_of, told

GOOD = """
    repositories:
      primary: {url: /r, password: "env:P"}
    sources:
      weights: {kind: model_dir, path: /srv/models}
      store: {kind: chroma, path: /srv/chroma}
      configs: {kind: configs, path: /etc/llm}
    engines:
      language: {kind: llamacpp, source: weights, model: a.gguf}
      embedder: {kind: llamacpp, source: weights, model: b.gguf, embedding: true}
    goldens:
      answers: {kind: completion, engine: language, prompts: [hello]}
      vectors: {kind: embedding, engine: embedder, texts: [hello]}
      found: {kind: neighbours, source: store, collection: c, engine: embedder, queries: [hello]}
    plans:
      nightly:
        sources: [weights, store, configs]
        repositories: [primary]
        drill: {engines: [language], goldens: [answers, vectors, found]}
"""

CHANGES = {
    "source of a plan": (
        "[weights, store, configs]",
        "[weights, store, config]",
        '16:31: plans.nightly.sources[2]: there is no "config" in sources; did you mean "configs"?',
    ),
    "repository of a plan": (
        "repositories: [primary]",
        "repositories: [secondary]",
        'plans.nightly.repositories[0]: there is no "secondary" in repositories; known here',
    ),
    "engine of a drill": (
        "engines: [language]",
        "engines: [languages]",
        'drill.engines[0]: there is no "languages" in engines; did you mean "language"?',
    ),
    "golden of a drill": (
        "goldens: [answers,",
        "goldens: [answer,",
        'drill.goldens[0]: there is no "answer" in goldens; did you mean "answers"?',
    ),
    "source of an engine": (
        "source: weights, model: a.gguf",
        "source: wights, model: a.gguf",
        'engines.language.source: there is no "wights" in sources; did you mean "weights"?',
    ),
    "an engine's source without models": (
        "source: weights, model: a.gguf",
        "source: configs, model: a.gguf",
        'engines.language.source: "configs" is of kind configs; name one of kind hf_cache or',
    ),
    "engine of a golden": (
        "engine: language, prompts",
        "engine: nothing, prompts",
        'goldens.answers.engine: there is no "nothing" in engines',
    ),
    "golden's source that cannot be searched": (
        "source: store, collection",
        "source: configs, collection",
        'goldens.found.source: "configs" is of kind configs; '
        "name one of kind chroma or elasticsearch or faiss or lancedb or ",
    ),
    "embeddings of a completing engine": (
        "engine: embedder, texts",
        "engine: language, texts",
        'goldens.vectors.engine: engine "language"',
    ),
    "neighbours by a completing engine": (
        "engine: embedder, queries",
        "engine: language, queries",
        "set embedding: true there",
    ),
    "completion by an embedding engine": (
        "engine: language, prompts",
        "engine: embedder, prompts",
        "embeds only",
    ),
    "no prompts": (", prompts: [hello]", "", "goldens.answers: asks nothing; give prompts or"),
    "no texts": ("texts: [hello]", "texts: []", "goldens.vectors: asks nothing; give texts or"),
    "no queries": (", queries: [hello]", "", "goldens.found: asks nothing; give queries or"),
    "missing prompts file": (
        "prompts: [hello]",
        "prompts_file: prompts.txt",
        "goldens.answers.prompts_file: the file ",
    ),
    "chroma nowhere": (
        "chroma, path: /srv/chroma",
        "chroma",
        "sources.store: give either path (a directory) or url (a running server); there is neither",
    ),
    "chroma twice": (
        "path: /srv/chroma",
        "path: /srv/chroma, url: http://127.0.0.1:8000",
        "not both",
    ),
    "drilled source that is not backed up": (
        "sources: [weights, store, configs]",
        "sources: [weights, configs]",
        'plans.nightly.drill.goldens[2]: needs the source "store", which this plan does not back',
    ),
    "named twice": (
        "[weights, store, configs]",
        "[weights, store, configs, store]",
        "plans.nightly.sources[3]: is named twice; remove one",
    ),
    "base model": (
        "path: /srv/models}",
        "path: /srv/models, base_model: bace}",
        'sources.weights.base_model: there is no "bace" in sources',
    ),
}


def test_what_fits_is_no_problem(tmp_path: Path) -> None:
    assert told(problems_of(tmp_path, GOOD), tmp_path) == []


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_fit_is_told(name: str, tmp_path: Path) -> None:
    before, after, expected = CHANGES[name]
    assert GOOD.count(before) == 1
    messages = told(problems_of(tmp_path, GOOD.replace(before, after)), tmp_path)
    assert [expected in message for message in messages].count(True) == 1, messages


def test_an_engine_needs_its_source_in_the_plan_too(tmp_path: Path) -> None:
    text = GOOD.replace("[weights, store, configs]", "[store, configs]")
    messages = told(problems_of(tmp_path, text), tmp_path)
    paths = [message.split(": ")[1] for message in messages]
    drill = "plans.nightly.drill"
    assert paths == [f"{drill}.engines[0]", f"{drill}.goldens[0]", f"{drill}.goldens[1]"]


def test_references_are_told_beside_other_problems(tmp_path: Path) -> None:
    text = GOOD.replace("path: /etc/llm", "path: 3").replace("primary]", "secondary]")
    problems = problems_of(tmp_path, text)
    assert [one.path for one in problems] == [
        "sources.configs.path",
        "plans.nightly.repositories[0]",
    ]


def test_a_repo_may_be_a_base_model(tmp_path: Path) -> None:
    text = GOOD.replace("path: /srv/models}", "path: /srv/models, base_model: org/name}")
    assert not problems_of(tmp_path, text)
