"""Configuration files and prompts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.config_files import is_prompt
from llmvault.sources.configs import Configurations
from llmvault.sources.interface import Observation, TreeCapture
from tests.contract.source import as_json, capture_into, local_ports, through_json
from tests.fakes import source_configs
from tests.unit.sources.conftest import without_privileges

TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"


def source(root: Path, *include: str, **more: object) -> Configurations:
    config = source_configs.configs(root, *include, **more)
    return Configurations("configs", config, local_ports())


def findings(root: Path, *include: str, **more: object) -> set[tuple[str, str, str]]:
    observed = source(root, *include, **more).observe().findings
    return {(f.name, f.path, f.severity) for f in observed}


def captured(root: Path, *include: str, **more: object) -> tuple[str, ...] | None:
    with source(root, *include, **more).capture(root) as capture:
        assert isinstance(capture, TreeCapture)
        return capture.paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "etc"
    files = {
        "nginx/nginx.conf": "workers 1;",
        "nginx/sites/llm.conf": "listen 443;",
        "prompts/system.md": "You answer briefly.",
        "empty": "",
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
        (root / path).chmod(0o640)
    return root


def test_mode_owner_and_digest_are_recorded(root: Path) -> None:
    record = source(root).observe().details["files"]["nginx/nginx.conf"]
    assert record == {
        "mode": "0640",
        "uid": os.getuid(),
        "gid": os.getgid(),
        "owner": (root / "nginx" / "nginx.conf").owner(),
        "group": (root / "nginx" / "nginx.conf").group(),
        "size": 10,
        "sha256": hashlib.sha256(b"workers 1;").hexdigest(),
    }


def test_an_owner_without_a_name_is_a_number(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(root / "empty", 54321, 54322)
    record = source(root).observe().details["files"]["empty"]
    assert (record["owner"], record["group"]) == ("54321", "54322")


def test_prompts_are_versioned(root: Path) -> None:
    details = source(root).observe().details
    assert list(details["prompts"]) == ["prompts/system.md"]
    (root / "nginx" / "nginx.conf").write_text("workers 2;")
    assert source(root).observe().details["prompts_version"] == details["prompts_version"]
    (root / "prompts" / "system.md").write_text("You answer at length.")
    assert source(root).observe().details["prompts_version"] != details["prompts_version"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jinja", True),
        ("A.J2", True),
        ("chat.prompt", True),
        ("prompts/system.md", True),
        ("prompts/deep/er/few-shot.yaml", True),
        ("system-prompts/a.TXT", True),
        ("templates/mail.txt", True),
        ("templates/nginx.yaml", False),
        ("readme.md", False),
        ("prompts", False),
        ("prompts/picture.png", False),
    ],
)
def test_what_a_prompt_is(path: str, expected: bool) -> None:
    assert is_prompt(path) is expected


def test_everything_is_read_in_place(root: Path) -> None:
    assert captured(root) is None
    assert captured(root, exclude=("*.conf",)) is None


def test_patterns_give_paths(root: Path) -> None:
    assert captured(root, "nginx", "empty") == ("empty", "nginx/nginx.conf", "nginx/sites/llm.conf")
    assert captured(root, "**", "empty", exclude=("sites",)) == (
        *("empty", "nginx/nginx.conf", "prompts/system.md"),
    )


def test_tagged_folders_are_left_out_on_demand(root: Path) -> None:
    (root / "nginx" / "CACHEDIR.TAG").write_text(TAG)
    assert captured(root, exclude_caches=True) == ("empty", "prompts/system.md")
    (root / "CACHEDIR.TAG").write_text(TAG)
    with pytest.raises(UnavailableError):
        source(root, exclude_caches=True).observe()


def test_a_pattern_that_matches_nothing_is_told(root: Path) -> None:
    assert findings(root, "nginx", "*.service") == {("pattern-unmatched", "*.service", "warning")}


@pytest.mark.parametrize("include", [("*.service",), ("nginx/*/*/*",), ("nowhere/**",)])
def test_nothing_matched_is_unavailable(
    root: Path, include: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match="none of its patterns"):
        source(root, *include).observe()
    with pytest.raises(UnavailableError), source(root, *include).capture(tmp_path):
        raise AssertionError("nothing was captured")


def test_everything_excluded_is_unavailable(root: Path) -> None:
    with pytest.raises(UnavailableError):
        source(root, exclude=("*",)).observe()


def test_an_empty_root_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        source(tmp_path).observe()


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../**", "nginx/../../x"])
def test_a_pattern_that_leaves_the_root_is_wrong(root: Path, pattern: str) -> None:
    with pytest.raises(PolicyError, match="leaves the root"):
        source(root, "nginx", pattern).observe()


def test_links_without_their_target_are_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (root / "inside").symlink_to("empty")
    (root / "outside").symlink_to("../secret")
    (root / "loop").symlink_to("loop/loop")
    assert findings(root) == {
        ("link-not-captured", "outside", "warning"),
        ("link-not-captured", "loop", "warning"),
    }
    assert ("link-not-captured", "inside", "warning") in findings(root, "inside")


def test_special_files_are_told_and_not_read(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert findings(root, "pipe", "empty") == {("special-file", "pipe", "warning")}
    assert captured(root, "pipe", "empty") == ("empty",)


def test_a_large_file_is_left_to_the_backup(root: Path) -> None:
    with (root / "dump.log").open("wb") as stream:
        stream.truncate(17 << 20)
    assert findings(root) == {("large-file", "dump.log", "warning")}
    assert source(root).observe().details["files"]["dump.log"]["sha256"] == ""


def test_what_cannot_be_read_is_unproven(open_folder: Path) -> None:
    (open_folder / "open").write_text("x")
    (open_folder / "secret").write_text("x")
    (open_folder / "closed").mkdir()
    (open_folder / "secret").chmod(0)
    (open_folder / "closed").chmod(0)
    with without_privileges():
        seen = findings(open_folder)
    assert seen == {
        ("unreadable", "secret", "unproven"),
        ("unreadable", "closed", "unproven"),
    }


def test_odd_names_are_recorded_and_checked(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for name in ("\udcff.conf", "\\xff.conf", "n" * 255, "new\nline", " "):
        (live / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    assert len(source(live).observe().details["files"]) == 5
    again, recorded = restored(live, tmp_path)
    assert as_json(recorded)
    assert verdicts(again, recorded) == {Verdict.PROVEN}


def restored(root: Path, tmp_path: Path) -> tuple[Path, Observation]:
    recorded, _ = capture_into(source(root), tmp_path / "restored", tmp_path)
    return tmp_path / "restored", through_json(recorded)


def verdicts(folder: Path, recorded: Observation) -> set[Verdict]:
    return {check.verdict for check in source(folder).check(folder, recorded)}


def failed(folder: Path, recorded: Observation) -> set[str]:
    checks = source(folder).check(folder, recorded)
    return {check.name for check in checks if check.verdict is Verdict.FAILED}


def test_a_changed_file_fails(root: Path, tmp_path: Path) -> None:
    again, recorded = restored(root, tmp_path)
    (again / "nginx" / "nginx.conf").write_text("workers 9;")
    assert failed(again, recorded) == {"content"}


def test_a_changed_prompt_fails(root: Path, tmp_path: Path) -> None:
    again, recorded = restored(root, tmp_path)
    (again / "prompts" / "system.md").write_text("You answer bluntly.")
    assert failed(again, recorded) == {"content", "prompts"}


def test_a_changed_mode_fails(root: Path, tmp_path: Path) -> None:
    again, recorded = restored(root, tmp_path)
    (again / "empty").chmod(0o644)
    assert failed(again, recorded) == {"modes"}


def test_a_changed_owner_fails(root: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    again, recorded = restored(root, tmp_path)
    os.chown(again / "empty", 54321, -1)
    assert failed(again, recorded) == {"owners"}


def test_owners_are_not_compared_without_privileges(open_folder: Path, tmp_path: Path) -> None:
    (open_folder / "file").write_text("x")
    recorded = through_json(source(open_folder).observe())
    with without_privileges():
        checks = {check.name: check for check in source(open_folder).check(open_folder, recorded)}
    assert "owners" not in checks
    assert "only root" in checks["modes"].detail


def test_a_redirected_link_fails(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to("empty")
    again, recorded = restored(root, tmp_path)
    (again / "link").unlink()
    (again / "link").symlink_to("nginx/nginx.conf")
    assert failed(again, recorded) == {"content"}


def test_a_link_instead_of_a_file_fails(root: Path, tmp_path: Path) -> None:
    again, recorded = restored(root, tmp_path)
    (again / "empty").unlink()
    (again / "empty").symlink_to("nginx/nginx.conf")
    assert "content" in failed(again, recorded)


def test_a_restored_file_that_cannot_be_read_is_unproven(open_folder: Path) -> None:
    (open_folder / "file").write_text("x")
    recorded = through_json(source(open_folder).observe())
    (open_folder / "file").chmod(0)
    with without_privileges():
        checks = {c.name: c.verdict for c in source(open_folder).check(open_folder, recorded)}
    assert checks == {"content": Verdict.UNPROVEN, "modes": Verdict.FAILED}
