"""Policy directories for tests, written from short texts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from llmvault.policy.load import load_policy
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.problems import PolicyFilesError, Problem

SMALL = """
    repositories:
      primary: {url: /srv/repository, password: "env:PASSWORD"}
    sources:
      models: {kind: model_dir, path: /srv/models}
    plans:
      nightly: {sources: [models], repositories: [primary]}
"""


def write_policy(directory: Path, files: Mapping[str, str]) -> Path:
    """Write files by name, dedented, below a directory; return it."""
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return directory


def load(
    directory: Path, files: Mapping[str, str] | str, environment: Mapping[str, str] | None = None
) -> LoadedPolicy:
    """Load a policy of these files, or of this one file."""
    named = {"policy.yaml": files} if isinstance(files, str) else files
    return load_policy(write_policy(directory, named), environment or {})


def problems_of(
    directory: Path, files: Mapping[str, str] | str, environment: Mapping[str, str] | None = None
) -> tuple[Problem, ...]:
    """Return what is wrong with these files; nothing when they are right."""
    try:
        load(directory, files, environment)
    except PolicyFilesError as error:
        return error.problems
    return ()


def told(problems: tuple[Problem, ...], directory: Path) -> list[str]:
    """Return problems as people read them, with files named relative to the directory."""
    return [str(one).replace(f"{directory.resolve()}/", "") for one in problems]
