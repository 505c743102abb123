"""``llmvault policy`` as people and scripts run it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.policy_files import SMALL, write_policy

pytestmark = pytest.mark.system

POLICIES = Path(__file__).parents[2] / "policies"


def llmvault(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmvault", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "llmvault", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"pydantic", "yaml", "sqlalchemy", "sqlmodel", "rich.console", "httpx", "chromadb"}
    assert not heavy & imported
    assert "policy" in done.stdout


def test_help_is_fast() -> None:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        assert llmvault("--help").returncode == 0
        times.append(time.perf_counter() - started)
    assert min(times) < 0.25, times


def test_the_shipped_example_is_valid(tmp_path: Path) -> None:
    done = llmvault("policy", "validate", "--policies", str(POLICIES), "--state", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (
        "policies is valid: 1 repositories, 9 sources, 2 engines, 6 goldens, 1 plans" in done.stdout
    )
    assert "plans.yaml:19:5: info: plans.nightly.repositories: one repository is one" in done.stdout


def test_the_example_works_where_the_quickstart_puts_it(tmp_path: Path) -> None:
    shutil.copytree(POLICIES, tmp_path / "policies")
    done = llmvault(*("policy", "show", "--json"), LLMVAULT_POLICIES=str(tmp_path / "policies"))
    values = {one["path"]: one["value"] for one in document(done)["settings"]}
    assert values["repositories.primary.url"] == f"{tmp_path.resolve()}/repository"
    secret = f"file:{tmp_path.resolve()}/secrets/repository-password"
    assert values["repositories.primary.password"] == secret
    hub = f"{tmp_path.resolve()}/deployment/huggingface/hub"
    assert values["sources.minilm.path"] == hub


def test_validate_as_json(tmp_path: Path) -> None:
    write_policy(tmp_path, {"policy.yaml": SMALL})
    done = llmvault("policy", "validate", "--json", "--policies", str(tmp_path))
    assert done.returncode == 0
    told = document(done)
    assert told["items"] == {
        **{"repositories": 1, "sources": 1, "engines": 0, "goldens": 0, "plans": 1},
        **dict.fromkeys(("retention", "people", "approvals", "windows", "jobs", "notify"), 0),
    }
    assert [one["rule"] for one in told["advice"]] == ["single-copy"]
    assert told["files"] == [str(tmp_path.resolve() / "policy.yaml")]
    assert len(told["digest"]) == 64


def test_every_problem_is_told_with_file_and_line(tmp_path: Path) -> None:
    write_policy(
        tmp_path,
        {
            "list.yaml": "- a\n",
            "tab.yaml": "sources:\n\ta: {}\n",
            "twice.yaml": "plans:\n  p: {}\n  p: {}\n",
            "unknown.yaml": "sources:\n  a: {kind: model_dir, path: /a, exclud: []}\n",
        },
    )
    done = llmvault("policy", "validate", "--policies", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    for expected in (
        "list.yaml:1:1: the file should be a mapping",
        "tab.yaml:2:1: a tab; YAML is indented with spaces only",
        "twice.yaml:3:3: plans.p: is there twice; the first is on line 2",
        'unknown.yaml:2:34: sources.a.exclud: unknown key; did you mean "exclude"?',
    ):
        assert f"{tmp_path.resolve()}/{expected}" in done.stderr


def test_problems_as_json(tmp_path: Path) -> None:
    write_policy(tmp_path, {"policy.yaml": "sorces: {}\n"})
    done = llmvault("policy", "show", "--json", "--policies", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "")
    error = document(done)["error"]
    assert error["exit_code"] == 2
    assert error["problems"] == [
        {
            "file": str(tmp_path.resolve() / "policy.yaml"),
            "line": 1,
            "column": 1,
            "path": "sorces",
            "message": 'unknown key; did you mean "sources"?',
        }
    ]


def test_a_dangerous_setting_exits_1(tmp_path: Path) -> None:
    write_policy(
        tmp_path,
        {"policy.yaml": SMALL.replace("model_dir,", "hf_cache, exclude_caches: true,")},
    )
    done = llmvault("policy", "validate", "--policies", str(tmp_path))
    assert done.returncode == 1
    assert "policy.yaml:4:28: danger: sources.models.exclude_caches: " in done.stdout


def test_show_tells_where_each_value_comes_from(tmp_path: Path) -> None:
    write_policy(
        tmp_path,
        {
            "policy.yaml": SMALL.replace("/srv/models", '"${MODELS:-/srv/models}"'),
            "overrides.d/host.yaml": "plans: {nightly: {objectives: {rpo: 1h}}}",
        },
    )
    done = llmvault("policy", "show", "--policies", str(tmp_path), MODELS="/data")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["models", "path", "/data", "policy.yaml:4", "$MODELS"] in rows
    assert ["nightly", "objectives.rpo", "1h", "overrides.d/host.yaml:1", "(override)"] in rows
    assert ["nightly", "objectives.rto", "4h", "built-in", "default"] in rows
    chosen = llmvault("policy", "show", "plans.nightly", "--policies", str(tmp_path))
    assert "objectives.rpo" in chosen.stdout
    assert "primary.url" not in chosen.stdout


def test_show_of_what_is_not_there(tmp_path: Path) -> None:
    write_policy(tmp_path, {"policy.yaml": SMALL})
    done = llmvault("policy", "show", "plans.nightli", "--policies", str(tmp_path))
    assert done.returncode == 2
    assert 'did you mean "nightly"?' in done.stderr


def test_schema_is_the_shipped_one() -> None:
    done = llmvault("policy", "schema", "--json")
    assert done.stdout == (POLICIES / "schema.json").read_text(encoding="utf-8")


def test_no_policies(tmp_path: Path) -> None:
    done = llmvault("policy", "validate", LLMVAULT_POLICIES=str(tmp_path / "absent"))
    assert done.returncode == 2
    assert "is no directory; name one with --policies DIR or LLMVAULT_POLICIES" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["polici"], ["policy", "--what"], ["policy", "show", "a", "b"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = llmvault(*arguments)
    assert done.returncode == 2
    assert "--help tells what it takes" in done.stderr
    assert document(llmvault(*arguments, "--json"))["error"]["exit_code"] == 2


@pytest.mark.parametrize("arguments", [["policy", "schema"], ["policy", "show"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "llmvault", *arguments],
        env={**os.environ, "LLMVAULT_POLICIES": str(POLICIES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_being_told_to_end_unwinds(number: signal.Signals, code: int) -> None:
    script = (
        "import os, sys, llmvault.__main__ as program\n"
        "def run(_):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "program.run = run\n"
        "sys.exit(program.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "cleaned up\n")
