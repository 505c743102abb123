"""Advice on what is valid and yet dangerous."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.policy.lint import RULES, Advice, Severity, lint
from llmvault.policy.observe import Surroundings, observe
from tests.fakes.policy_files import load

COMMIT = "8dbc27f2903f5ec64364812a10cdfd827a695440"
CALM = f"""
    repositories:
      primary: {{url: "s3:https://s3.example.org/a", password: "env:P"}}
      secondary: {{url: /srv/repository, password: "env:P"}}
    sources:
      cache: {{kind: hf_cache, path: /srv/hub, models: [{{repo: a/b, revision: {COMMIT}}}]}}
      models: {{kind: model_dir, path: /srv/models}}
      configs: {{kind: configs, path: /, include: ["etc/nginx/**", "etc/llm/*.toml"]}}
    engines:
      server: {{kind: openai, source: models, model: ., command: [vllm, serve, "{{model}}"]}}
    plans:
      nightly: {{sources: [cache, models, configs], repositories: [primary, secondary]}}
"""


def advice(
    directory: Path, text: str, surroundings: Surroundings | None = None, **environment: str
) -> tuple[Advice, ...]:
    return lint(load(directory, text, environment), surroundings or Surroundings())


def changed(before: str, after: str) -> str:
    assert CALM.count(before) == 1
    return CALM.replace(before, after)


def test_a_calm_policy_gets_no_advice(tmp_path: Path) -> None:
    assert advice(tmp_path, CALM) == ()


WARNED = {
    "excluded-cache": (
        *("hf_cache, path: /srv/hub,", "hf_cache, path: /srv/hub, exclude_caches: true,"),
        5,
    ),
    "unpinned-model": (COMMIT, "main", 5),
    "mixed-retention": (
        "url: /srv/repository,",
        'url: "s3:https://s3.example.org/a/", retention_class: long,',
        3,
    ),
    "written-secret": ("https://s3", "https://key:hunter2@s3", 2),
    "unplanned-source": ("[cache, models, configs]", "[cache, models]", 7),
    "nested-directories": ("path: /srv/models", "path: /srv/repository/data", 6),
    "single-copy": ("[primary, secondary]", "[primary]", 11),
    "short-lock": (
        "    engines:\n",
        "    retention:\n      standard: {basis: the law, keep: {daily: 7}, locked_for: 30d}\n"
        "    people: {ada: {keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==]}}\n"
        "    approvals: {retention: {}}\n    engines:\n",
        2,
    ),
    "unapprovable": (
        "    engines:\n",
        "    retention:\n      standard: {basis: the law, keep: {daily: 7}}\n    engines:\n",
        9,
    ),
}


@pytest.mark.parametrize("rule", WARNED)
def test_each_danger_gets_one_piece_of_advice(rule: str, tmp_path: Path) -> None:
    before, after, line = WARNED[rule]
    [one] = advice(tmp_path, changed(before, after))
    assert one.rule == rule
    assert one.severity is RULES[rule][0]
    assert one.place is not None
    assert (one.place.file, one.place.line) == (tmp_path.resolve() / "policy.yaml", line)
    assert "hunter2" not in str(one)


def test_every_rule_is_tested() -> None:
    assert WARNED.keys() | {"open-secret-file"} == RULES.keys()


def test_excluding_caches_of_a_cache_is_a_danger_and_comes_first(tmp_path: Path) -> None:
    text = changed("hf_cache, path: /srv/hub,", "hf_cache, path: /srv/hub, exclude_caches: true,")
    found = advice(tmp_path, text.replace(COMMIT, "main"))
    assert [one.severity for one in found] == [Severity.DANGER, Severity.WARNING]
    assert "44 bytes" in found[0].message


@pytest.mark.parametrize("path", ["/srv", "/srv/hub", "/srv/hub/models--a--b", "/x/models--a--b/y"])
def test_excluding_caches_around_and_inside_a_cache(path: str, tmp_path: Path) -> None:
    text = changed(
        "path: /srv/models}", f"path: {path}, exclude_caches: true, exclude: [repository]}}"
    )
    assert "excluded-cache" in [one.rule for one in advice(tmp_path, text)]


def test_excluding_caches_elsewhere_is_fine(tmp_path: Path) -> None:
    text = changed("path: /srv/models}", "path: /srv/models, exclude_caches: true}")
    assert advice(tmp_path, text) == ()


def test_a_cache_on_disk_that_no_source_names_is_found(tmp_path: Path) -> None:
    base = tmp_path.resolve()
    (base / "models" / "hub" / "models--a--b" / "blobs").mkdir(parents=True)
    text = changed("path: /srv/models}", f"path: {base}/models, exclude_caches: true}}")
    loaded = load(tmp_path / "policies", text)
    surroundings = observe(loaded.policy, state=base / "state", scratch=base / "scratch")
    assert surroundings.caches_below == {"models": (base / "models" / "hub",)}
    [one] = lint(loaded, surroundings)
    assert one.rule == "excluded-cache"


@pytest.mark.parametrize(
    ("source", "excluded", "warned"),
    [
        ("/srv/repository", "", True),
        ("/srv/repository/inside", "", True),
        ("/srv", "", True),
        ("/", "", True),
        ("/srv", "repository", False),
        ("/", "srv/repository", False),
        ("/", "/srv/repository/", False),
        ("/", "srv/*", False),
        ("/srv/repository-of-models", "", False),
    ],
)
def test_sources_and_repositories_apart(
    source: str, excluded: str, warned: bool, tmp_path: Path
) -> None:
    text = changed("path: /srv/models}", f'path: {source}, exclude: ["{excluded}"]}}')
    rules = [one.rule for one in advice(tmp_path, text)]
    assert rules == (["nested-directories"] if warned else [])


def test_configs_are_judged_by_what_they_include(tmp_path: Path) -> None:
    text = changed('"etc/nginx/**"', '"srv/**/*.conf"')
    assert [one.rule for one in advice(tmp_path, text)] == ["nested-directories"]


def test_links_and_own_directories_are_seen_through(tmp_path: Path) -> None:
    base = tmp_path.resolve()
    (base / "state" / "scratch").mkdir(parents=True)
    (base / "link").symlink_to("state/scratch")
    loaded = load(tmp_path / "policies", changed("path: /srv/models", f"path: {base}/link"))
    surroundings = observe(loaded.policy, state=base / "state", scratch=base / "state" / "scratch")
    messages = [one.message for one in lint(loaded, surroundings)]
    assert len(messages) == 2
    assert any(f"inside the scratch directory ({base}/state/scratch)" in one for one in messages)


def test_secret_files_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path.resolve() / "password"
    secret.write_text("x")
    secret.chmod(0o640)
    text = changed('url: /srv/repository, password: "env:P"', f'url: /r, password: "file:{secret}"')
    loaded = load(tmp_path / "policies", text)
    found = lint(loaded, observe(loaded.policy, state=tmp_path, scratch=tmp_path))
    assert [one.path for one in found] == ["repositories.secondary.password"]
    assert f"chmod 600 {secret}" in found[0].message
    secret.chmod(0o600)
    assert lint(loaded, observe(loaded.policy, state=tmp_path, scratch=tmp_path)) == ()


def test_a_missing_secret_file_is_not_lints_business(tmp_path: Path) -> None:
    text = changed('url: /srv/repository, password: "env:P"', 'url: /r, password: "file:/no/file"')
    loaded = load(tmp_path / "policies", text)
    assert lint(loaded, observe(loaded.policy, state=tmp_path, scratch=tmp_path)) == ()


@pytest.mark.parametrize(
    ("addition", "path"),
    [
        ("environment: {HF_TOKEN: hunter2}", "engines.server.environment.HF_TOKEN"),
        (
            "environment: {ARGS: sk-hunter2hunter2hunter2}",
            "engines.server.environment.ARGS",
        ),
        ('command: [serve, --api-key, "hunter2"]', "engines.server.command[2]"),
        ("command: [serve, --api-key=hunter2]", "engines.server.command[1]"),
    ],
)
def test_secrets_of_engines(addition: str, path: str, tmp_path: Path) -> None:
    command = 'command: [vllm, serve, "{model}"]'
    text = changed(command, addition if "command" in addition else f"{command}, {addition}")
    [one] = advice(tmp_path, text)
    assert (one.rule, one.path) == ("written-secret", path)
    assert "hunter2" not in str(one)


def test_a_secret_from_the_environment_is_not_written_in_the_file(tmp_path: Path) -> None:
    text = changed('"{model}"]', '"{model}"], environment: {HF_TOKEN: "${HF_TOKEN}"}')
    assert advice(tmp_path, text, HF_TOKEN="hunter2") == ()
