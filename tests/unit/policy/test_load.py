"""Policy files as they are read: places, problems, what YAML may and may not do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmvault.policy.load import load_policy
from llmvault.policy.problems import PolicyFilesError
from llmvault.policy.sources import HfCacheSource, ModelDirSource
from tests.fakes.policy_files import SMALL, load, problems_of, told, write_policy


def test_files_of_a_directory_are_one_policy(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {
            "a.yaml": "version: 1\nsources:\n  models: {kind: model_dir, path: /srv/models}\n",
            "b.yaml": "version: 1\nrepositories:\n  primary: {url: /r, password: 'env:P'}\n",
            "empty.yaml": "# nothing yet\n",
            "sections.yaml": "sources:\nplans:\n",
            ".hidden.yaml": "no: policy",
            "notes.md": "not: read",
        },
    )
    assert list(loaded.policy.sources) == ["models"]
    assert list(loaded.policy.repositories) == ["primary"]
    names = [file.name for file in loaded.files]
    assert names == ["a.yaml", "b.yaml", "empty.yaml", "sections.yaml"]


def test_yaml_scalars_mean_what_operators_mean(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        sources:
          weights:
            kind: hf_cache
            path: /srv/hub
            compression: off
            exclude_caches: no
            models:
              - {repo: a/b, revision: 1234567890123456789012345678901234567890}
              - {repo: c/d, revision: 12345678901234567890123456789012345678e1}
        """,
    )
    source = loaded.policy.sources["weights"]
    assert isinstance(source, HfCacheSource)
    assert source.compression == "off"
    assert source.exclude_caches is False
    assert [model.is_pinned for model in source.models] == [True, True]


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        sources:
          one: &base {kind: model_dir, path: /srv/one, exclude: &left_out [a, b]}
          two: {<<: *base, path: /srv/two}
          three: {<<: [{path: /srv/three}, *base], exclude: *left_out}
        """,
    )
    two, three = loaded.policy.sources["two"], loaded.policy.sources["three"]
    assert isinstance(two, ModelDirSource)
    assert isinstance(three, ModelDirSource)
    assert (two.path, two.exclude) == (Path("/srv/two"), ("a", "b"))
    assert (three.path, three.exclude) == (Path("/srv/three"), ("a", "b"))
    assert loaded.origin("sources", "two", "exclude").place is not None


BAD_FILES = {
    "text": ("just words", "1:1: the file should be a mapping"),
    "list": ("- one\n- two\n", "1:1: the file should be a mapping"),
    "number": ("42\n", "1:1: the file should be a mapping"),
    "tab": ("sources:\n\tmodels: {}\n", "2:1: a tab; YAML is indented with spaces"),
    "tab first": ("\tsources: {}\n", "1:1: a tab;"),
    "two documents": ("version: 1\n---\nversion: 1\n", "2:1: a second document begins"),
    "unknown section": ("sorces: {}\n", '1:1: sorces: unknown key; did you mean "sources"?'),
    "duplicate section": ("plans: {}\nplans: {}\n", "2:1: plans: is there twice; the first is on"),
    "duplicate name": (
        "sources:\n  a: {kind: model_dir, path: /a}\n  a: {kind: model_dir, path: /b}\n",
        "3:3: sources.a: is there twice; the first is on line 2",
    ),
    "duplicate key": (
        "sources:\n  a: {kind: model_dir, path: /a, path: /b}\n",
        "2:34: sources.a.path: is there twice; the first is on line 2",
    ),
    "number as name": ("sources:\n  1: {kind: model_dir, path: /a}\n", "2:3: sources: the key 1"),
    "list as key": ("sources: {[a]: 1}\n", "1:11: sources: a key is text"),
    "bad name": (
        "sources:\n  My Models: {kind: model_dir, path: /a}\n",
        '2:3: sources["My Models"]: is no name: names are lower-case',
    ),
    "unknown key": (
        "sources:\n  a: {kind: model_dir, path: /a, exclud: [b]}\n",
        '2:34: sources.a.exclud: unknown key; did you mean "exclude"?',
    ),
    "unknown kind": (
        "sources:\n  a: {kind: hf_cash, path: /a}\n",
        '2:6: sources.a: "hf_cash" is no kind; did you mean "hf_cache"?',
    ),
    "no kind": ("sources:\n  a: {path: /a}\n", "2:3: sources.a: kind is required; one of"),
    "missing key": (
        "repositories:\n  a: {password: 'env:P'}\n",
        "2:3: repositories.a.url: is required: a local path",
    ),
    "list wanted": (
        "sources:\n  a: {kind: model_dir, path: /a, exclude: b}\n",
        "2:43: sources.a.exclude: should be a list",
    ),
    "mapping wanted": ("sources: [a]\n", "1:10: sources: should be a mapping"),
    "item empty": ("plans:\n  nightly:\n", "2:11: plans.nightly: should be a mapping"),
    "text wanted": (
        "sources:\n  a: {kind: model_dir, path: 12}\n",
        "2:30: sources.a.path: should be text, but is a number; put it in quotes",
    ),
    "whole number wanted": (
        "repositories:\n  a: {url: /r, password: 'env:P', pack_size_mib: big}\n",
        "2:50: repositories.a.pack_size_mib: should be a whole number",
    ),
    "out of range": (
        "repositories:\n  a: {url: /r, password: 'env:P', pack_size_mib: 4096}\n",
        "should be less than or equal to 128",
    ),
    "word out of a choice": (
        "sources:\n  a: {kind: model_dir, path: /a, compression: of}\n",
        "2:47: sources.a.compression: should be 'auto', 'off' or 'max'; did you mean \"off\"?",
    ),
    "duration": (
        "plans:\n  p: {sources: [], repositories: [], objectives: {rto: soon}}\n",
        "plans.p.objectives.rto: 'soon' is not a duration; write for example 15m",
    ),
    "endless duration": (
        "plans:\n  p: {sources: [], repositories: [], objectives: {rto: 99999999999999w}}\n",
        "plans.p.objectives.rto: '99999999999999w' is too long a time",
    ),
    "NUL in a path": (
        'sources:\n  a: {kind: model_dir, path: "/a\\0b"}\n',
        "2:30: sources.a.path: holds a NUL character",
    ),
    "half a character": ('sources:\n  a: {kind: model_dir, path: "/\\uD800"}\n', "bad.yaml:2:3"),
    "tilde": ("sources:\n  a: {kind: model_dir, path: ~/a}\n", "write ${HOME}/… or a full path"),
    "tilde in a repository": (
        "repositories:\n  a: {url: ~/r, password: 'env:P'}\n",
        "2:12: repositories.a.url: ~ is not replaced; write ${HOME}/… or a full path",
    ),
    "tilde in a secret": (
        "repositories:\n  a: {url: /r, password: 'file:~/p'}\n",
        "2:26: repositories.a.password: ~ is not replaced",
    ),
    "password": (
        "repositories:\n  a: {url: /r, password: hunter2}\n",
        "2:26: repositories.a.password: give a secret by reference",
    ),
    "tag": ("sources: !vault {}\n", "1:10: sources: the tag !vault is not understood"),
    "undefined alias": ("sources: *nothing\n", "1:10: sources: *nothing names no anchor before it"),
    "alias of itself": ("sources: &a {b: *a}\n", "*a names no anchor before it"),
    "unset variable": (
        "sources:\n  a: {kind: model_dir, path: '${NOT_SET}'}\n",
        "2:30: sources.a.path: the environment variable NOT_SET is not set",
    ),
    "colon": ("sources: a: b\n", "1:11: mapping values are not allowed in this context; quote"),
    "open quote": ("sources: 'a\n", "; a quote is not closed"),
    "unquoted variable": (
        "sources:\n  a: {path: ${X}}\n",
        'close the mapping, and quote values such as "${NAME}"',
    ),
    "open list": ("sources: [a\nplans: {}\n", "close the list"),
    "deep": ("a: " + "[" * 100_000, "is nested deeper than 64 levels"),
    "control character": ("version: 1\nplans: \x01\n", "2:8: control characters are not allowed"),
    "version": ("version: 2\n", "1:10: version: should be 1"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_input_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    text, expected = BAD_FILES[name]
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PolicyFilesError) as caught:
        load_policy(tmp_path, {})
    messages = told(caught.value.problems, tmp_path)
    assert any(expected in message for message in messages), messages
    assert all(message.startswith("bad.yaml:") for message in messages)
    assert "hunter2" not in caught.value.diagnostics()


def test_aliases_cannot_blow_up(tmp_path: Path) -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9))
    [problem] = problems_of(tmp_path, f"l0: &l0 [x]\n{levels}\n")
    assert "too many values" in problem.message


def test_text_that_is_not_utf8_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"version: 1\nplans: {\xff: 1}\n")
    with pytest.raises(PolicyFilesError) as caught:
        load_policy(tmp_path, {})
    assert told(caught.value.problems, tmp_path) == ["bad.yaml:2:9: is not UTF-8 text here"]


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        {
            "a.yaml": "sources:\n  a: {kind: model_dir, path: 1, exclud: 2}\nplanz: {}\n",
            "b.yaml": "plans:\n  p: {repositories: [x]}\n",
            "c.yaml": "a: [\n",
        },
    )
    lines = [(Path(one.file).name, one.line) for one in problems]
    assert lines == [("a.yaml", 2), ("a.yaml", 2), ("a.yaml", 3), ("b.yaml", 2), ("c.yaml", 2)]


def test_a_name_in_two_files_names_both_places(tmp_path: Path) -> None:
    item = "sources:\n  models: {kind: model_dir, path: /a}\n"
    [problem] = problems_of(tmp_path, {"a.yaml": item, "b.yaml": item})
    assert problem.file.endswith("b.yaml")
    assert f"the other is at {tmp_path.resolve()}/a.yaml:2:3" in problem.message


def test_an_unreadable_file_makes_no_name_unknown(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        {
            "plans.yaml": "plans:\n  p: {sources: [models], repositories: [primary]}\n",
            "broken.yaml": "sources: [\n",
        },
    )
    assert [Path(one.file).name for one in problems] == ["broken.yaml"]


def test_a_value_from_the_environment_is_not_repeated(tmp_path: Path) -> None:
    [problem] = problems_of(
        tmp_path,
        "plans:\n  p: {sources: [], repositories: [], objectives: {rto: '${SECRET}'}}\n",
        {"SECRET": "hunter2"},
    )[-1:]
    assert "hunter2" not in problem.message


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PolicyFilesError, match="1 problem") as caught:
        load_policy(tmp_path / "absent", {})
    assert "--policies DIR" in caught.value.diagnostics()


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(PolicyFilesError) as caught:
        load_policy(tmp_path, {})
    assert "has no *.yaml files" in caught.value.diagnostics()


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "directory.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "other.yml").write_text("sources: {}\n")
    problems = problems_of(tmp_path, SMALL)
    assert [(Path(one.file).name, one.line) for one in problems] == [
        ("directory.yaml", 0),
        ("link.yaml", 0),
        ("other.yml", 0),
        ("pipe.yaml", 0),
    ]


_NAMES = st.sampled_from(
    ["sources", "plans", "goldens", "defaults", "source", "kind", "hf_cache", "path", "engine", "a"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(_NAMES, _VALUES))
@example({"sources": {"a": {"kind": ["hf_cache"]}}, "defaults": {"source": {"hf_cache": 1}}})
def test_whatever_a_file_says_ends_in_a_policy_or_in_problems(
    tmp_path: Path, document: dict[str, object]
) -> None:
    import json

    write_policy(tmp_path, {"policy.yaml": json.dumps(document, allow_nan=True)})
    try:
        load_policy(tmp_path, {})
    except PolicyFilesError as error:
        assert error.problems


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8")))
def test_whatever_bytes_a_file_holds_end_in_a_policy_or_in_problems(
    tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "policy.yaml").write_bytes(data)
    try:
        load_policy(tmp_path, {})
    except PolicyFilesError as error:
        assert error.problems
        assert all(one.message for one in error.problems)


@pytest.mark.parametrize("key", ["path: ", "kind: model_dir, base_model: "])
def test_an_environment_that_is_no_text_is_a_problem(key: str, tmp_path: Path) -> None:
    text = f"sources: {{a: {{{key}'${{RAW}}'}}}}"
    problems = problems_of(tmp_path, text, {"RAW": "/srv/\udcff"})
    assert any("RAW is not UTF-8 text" in one.message for one in problems)
