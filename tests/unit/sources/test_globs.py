"""Patterns below a root."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.sources.globs import expand, leaves_root
from tests.unit.sources.conftest import without_privileges


def found(root: Path, pattern: str) -> set[str]:
    problems: list[str] = []
    paths = {entry.path for entry in expand(root, pattern, lambda p, _: problems.append(p))}
    assert problems == []
    return paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("a.conf", ".env", "n/b.conf", "n/s/c.conf", "n/s/d.txt", "n/[x].conf"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "n" / "up").symlink_to("..")
    (tmp_path / "n" / "gone").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.conf", {"a.conf"}),
        ("*", {"a.conf", ".env", "n/b.conf", "n/s/c.conf", "n/s/d.txt"} | {"n/[x].conf"}),
        ("*.conf", {"a.conf"}),
        ("**/*.conf", {"a.conf", "n/b.conf", "n/s/c.conf", "n/[x].conf"}),
        ("n/*.conf", {"n/b.conf", "n/[x].conf"}),
        ("n/s", {"n/s/c.conf", "n/s/d.txt"}),
        ("./n//s/", {"n/s/c.conf", "n/s/d.txt"}),
        ("n/**/c.conf", {"n/s/c.conf"}),
        ("**/s/**", {"n/s/c.conf", "n/s/d.txt"}),
        ("n/[[]x].conf", {"n/[x].conf"}),
        (".env", {".env"}),
        ("n/up/a.conf", set()),
        ("a.conf/x", set()),
        ("absent/*.conf", set()),
    ],
)
def test_patterns(root: Path, pattern: str, expected: set[str]) -> None:
    links = {"n/up", "n/gone"} if pattern == "*" else set()
    assert found(root, pattern) == expected | links


def test_everything(root: Path) -> None:
    assert len(found(root, "**")) == 8
    assert found(root, "") == found(root, "**")


def test_links_are_found_and_not_followed(root: Path) -> None:
    assert found(root, "n/up") == {"n/up"}
    assert found(root, "n/gone") == {"n/gone"}


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x"])
def test_patterns_that_leave_the_root(pattern: str) -> None:
    assert leaves_root(pattern)


@pytest.mark.parametrize("pattern", ["**", "a..b", "a/.../b"])
def test_patterns_that_stay(pattern: str) -> None:
    assert not leaves_root(pattern)


@pytest.mark.parametrize("pattern", ["**", "closed/*", "closed/*/x", "*/file", "closed/file"])
def test_what_cannot_be_read_is_told(open_folder: Path, pattern: str) -> None:
    (open_folder / "closed").mkdir()
    (open_folder / "closed" / "file").touch()
    (open_folder / "closed").chmod(0)
    problems: list[str] = []
    with without_privileges():
        list(expand(open_folder, pattern, lambda path, _: problems.append(path)))
    assert problems
    assert problems[0].startswith("closed")
