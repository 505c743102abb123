"""Nothing in llmvault deletes a backup but an approved plan: all calls that could are known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import llmvault

SOURCES = Path(llmvault.__file__).parent
# words with which restic takes away what a snapshot refers to
RESTIC_WORDS = {"forget", "prune", "rewrite", "--prune", "--forget", "--delete", "--remove-all"}
S3_WORDS = {"delete_object", "delete_objects", "delete_bucket"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield str(path.relative_to(SOURCES)), ast.parse(path.read_text(encoding="utf-8"))


def callers(*names: str) -> set[tuple[str, str]]:
    """Return file and function of everything that refers to an attribute or a name."""
    found = set()
    for file, tree in modules():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                name = getattr(node, "attr", None) or getattr(node, "id", None)
                if isinstance(node, ast.Attribute | ast.Name) and name in names:
                    found.add((file, function.name))
    return found


def saying(words: set[str]) -> set[str]:
    """Return the files in which one of some words is a whole string of the program."""
    return {
        file
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in words
    }


def test_restic_is_told_to_delete_in_one_place() -> None:
    # "prune" of the ledger's old entries: a kind of entry, a command, a section of the policy
    nouns = {"evidence/kinds.py", "cli/ledger.py", "policy/references.py"}
    assert saying(RESTIC_WORDS) - nouns == {"restic/command.py"}
    section = {
        ("app/pruning.py", "declared_prune"),
        ("policy/references.py", "reference_problems"),
    }
    assert callers("forget", "prune") - section == {
        ("restic/repo.py", "forget"),
        ("restic/repo.py", "prune"),
        ("retention/apply.py", "empty_repository"),
    }


def test_that_place_is_reached_with_an_approved_plan_only() -> None:
    assert callers("empty_repository") == {("retention/run.py", "_empty_all")}
    assert callers("_empty_all") == {("retention/run.py", "run")}
    assert callers("_Application") == {("retention/run.py", "apply_plan")}
    (apply_plan,) = [
        node
        for file, tree in modules()
        if file == "retention/run.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "apply_plan"
    ]
    calls = [
        node.func.id
        for node in ast.walk(apply_plan)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert {"demand", "_Application"} <= set(calls)
    text = ast.unparse(apply_plan)
    assert text.index("demand(") < text.index("_Application(")


def test_a_store_is_told_to_delete_canaries_and_delete_markers_only() -> None:
    assert saying(S3_WORDS) == {"objectstore/s3.py"}
    users = {
        file
        for file, tree in modules()
        if file.startswith(("buckets/", "locks/", "app/", "copies/", "cli/", "objectstore/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "delete"
    }
    assert users == {"buckets/tamper.py", "locks/undelete.py"}
    importers = {
        file
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "llmvault.objectstore.s3"
    }
    assert all(file.startswith(("buckets/", "locks/", "app/")) for file in importers), importers
