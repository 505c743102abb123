"""Secrets are named, told apart, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.env_secrets import EnvSecrets
from llmvault.sources.env_secrets.dotenv import parse_assignments
from llmvault.sources.env_secrets.files import SecretDigests
from llmvault.sources.env_secrets.store import LISTING
from llmvault.sources.interface import Observation
from tests.contract.source import capture_into, local_ports, through_json
from tests.fakes import source_configs
from tests.unit.sources.conftest import without_privileges

KEY = "0123456789abcdef0123456789abcdef"


def source(root: Path, *, key: str = KEY, **more: object) -> EnvSecrets:
    ports = local_ports({**os.environ, "DIGEST_KEY": key})
    return EnvSecrets("secrets", source_configs.env_secrets(root, **more), ports)


def write(root: Path, **files: str) -> Path:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        path = root / name.replace("__", ".")
        path.write_text(text)
        path.chmod(0o600)
    return root


def findings(driver: EnvSecrets) -> set[tuple[str, str, str]]:
    return {(f.name, f.path, f.severity) for f in driver.observe().findings}


def secrets_check(driver: EnvSecrets, recorded: Observation, restored: Path) -> tuple[Verdict, str]:
    (found,) = [one for one in driver.check(restored, recorded) if one.name == "secrets"]
    return found.verdict, found.detail


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("  export TOKEN = b c \n", "TOKEN", "b c"),
        ("A='b # c'  # note", "A", "b # c"),
        ('A="b\\"c\nd"\n', "A", 'b\\"c\nd'),
        ("A=b\\\nc\nB=d", "A", "b\\\nc"),
        ("# A=x\n; B=y\nA=z", "A", "z"),
        ("A=1\nA=2", "A", "2"),
        ("A=", "A", ""),
        ("A.b-c=1", "A.b-c", "1"),
        ("A='b'c", "A", "'b'c"),
        ("A=b=c", "A", "b=c"),
        ("A=b\r\nB=c\r\n", "A", "b"),
    ],
)
def test_assignments(text: str, name: str, value: str) -> None:
    found = parse_assignments(text.encode())
    assert found.values[name] == value.encode()
    assert found.unread == ()


@pytest.mark.parametrize(
    ("text", "lines"),
    [("A=1\nnothing\nB=2", (2,)), ("A='x\nB=2", (1,)), ("1A=2\n", (1,)), ("\n\n= x\n\\", (3, 4))],
)
def test_other_lines_are_counted_only(text: str, lines: tuple[int, ...]) -> None:
    assert parse_assignments(text.encode()).unread == lines


@given(st.binary(max_size=200))
def test_any_bytes_are_read(content: bytes) -> None:
    found = parse_assignments(content)
    assert all(1 <= line <= content.count(b"\n") + 1 for line in found.unread)


@given(
    st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text("abc #=$", max_size=9))
)
def test_quoted_values_are_those_written(values: dict[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in values.items())
    assert parse_assignments(text.encode()).values == {
        name: value.encode() for name, value in values.items()
    }


def test_a_digest_depends_on_key_name_and_value() -> None:
    digests, other = SecretDigests(b"k" * 32), SecretDigests(b"j" * 32)
    seen = [
        digests.of("a", b"x"),
        digests.of("b", b"x"),
        digests.of("a", b"y"),
        other.of("a", b"x"),
    ]
    assert len(set(seen)) == 4
    assert digests.of("a", b"") == ""
    assert digests.of("ab", b"c") != digests.of("a", b"bc")
    assert digests.key_id != other.key_id
    assert "kkk" not in repr(digests)


def test_files_and_variables_are_named_and_nothing_more(tmp_path: Path) -> None:
    root = write(tmp_path / "live", vllm__env="HF_TOKEN=hf_abc\nPORT=8000\n", api_key="sk-123\n")
    details = source(root).observe().details
    assert set(details["secrets"]) == {"vllm.env:HF_TOKEN", "vllm.env:PORT", "api_key"}
    assert details["files"]["vllm.env"]["kind"] == "env"
    assert details["files"]["api_key"] | {"uid": 0, "gid": 0} == {
        "kind": "file",
        "mode": "0600",
        "uid": 0,
        "gid": 0,
    }
    assert not [value for value in ("hf_abc", "8000", "sk-123") if value in repr(details)]


def test_links_are_followed(tmp_path: Path) -> None:
    root = write(tmp_path / "live", token="abc")
    (root / "linked").symlink_to("token")
    (root / "gone").symlink_to("nowhere")
    (root / "folder").mkdir()
    (root / "looped").symlink_to("folder")
    assert set(source(root).observe().details["secrets"]) == {"token", "linked"}
    assert findings(source(root)) == {("unreadable", "gone", "unproven")}


def test_what_is_noteworthy(tmp_path: Path) -> None:
    root = write(
        tmp_path / "live", a__env="A=1\nA=2\nB=\nwhat is this hunter2\n", big="x" * (2 << 20)
    )
    (root / "a.env").chmod(0o644)
    assert findings(source(root)) == {
        ("open-secret-file", "a.env", "warning"),
        ("secret-repeated", "a.env:A", "warning"),
        ("secret-empty", "a.env:B", "warning"),
        ("secret-unread", "a.env", "unproven"),
        ("secret-unread", "big", "unproven"),
    }
    assert "hunter2" not in repr(source(root).observe())


@pytest.mark.parametrize("wanted", ["a.env:TOKEN", "TOKEN", "key", "deep/key"])
def test_required_secrets_that_are_there(tmp_path: Path, wanted: str) -> None:
    root = write(tmp_path / "live", a__env="TOKEN=1")
    write(root / "deep", key="x")
    assert findings(source(root, required=[wanted])) == set()


@pytest.mark.parametrize("wanted", ["OTHER", "EMPTY", "a.env"])
def test_required_secrets_that_are_not(tmp_path: Path, wanted: str) -> None:
    root = write(tmp_path / "live", a__env="TOKEN=1\nEMPTY=")
    assert ("secret-missing", wanted, "failed") in findings(source(root, required=[wanted]))


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "live", a="x")
    with pytest.raises(PolicyError, match="could be guessed"):
        source(root, key="short").observe()


def test_patterns_and_exclusions(tmp_path: Path) -> None:
    root = write(tmp_path / "live", a__env="A=1", b__txt="x")
    only = source(root, include=["*.env"])
    assert set(only.observe().details["secrets"]) == {"a.env:A"}
    assert set(source(root, exclude=["*.txt"]).observe().details["secrets"]) == {"a.env:A"}
    assert "a.env" in source(root, env=["nothing"]).observe().details["secrets"]
    with pytest.raises(UnavailableError, match="matches"):
        source(root, include=["*.key"]).observe()
    with pytest.raises(PolicyError, match="leaves the root"):
        source(root, include=["../*"]).observe()


@pytest.fixture
def taken(tmp_path: Path) -> tuple[Path, Observation, Path]:
    """The live files, what was recorded of them, and a restored capture."""
    root = write(tmp_path / "live", a__env="TOKEN=1\nEMPTY=\n", key="hunter2")
    recorded, _ = capture_into(source(root), tmp_path / "restored", tmp_path)
    return root, through_json(recorded), tmp_path / "restored"


def test_a_capture_is_one_document_without_values(taken: tuple[Path, Observation, Path]) -> None:
    _, _, restored = taken
    assert [path.name for path in restored.iterdir()] == [LISTING]
    text = (restored / LISTING).read_text()
    assert '"key"' in text
    assert "hunter2" not in text


def test_missing_and_changed_secrets_are_told(taken: tuple[Path, Observation, Path]) -> None:
    root, recorded, restored = taken
    assert secrets_check(source(root), recorded, restored)[0] is Verdict.PROVEN
    write(root, key="rotated")
    verdict, detail = secrets_check(source(root), recorded, restored)
    assert verdict is Verdict.UNPROVEN
    assert "1 of 3" in detail
    assert detail.endswith(": key")
    (root / "key").unlink()
    verdict, detail = secrets_check(source(root), recorded, restored)
    assert verdict is Verdict.FAILED
    assert "key" in detail


def test_all_are_missing_where_there_is_nothing(
    taken: tuple[Path, Observation, Path], tmp_path: Path
) -> None:
    root, recorded, restored = taken
    root.rename(tmp_path / "elsewhere")
    verdict, detail = secrets_check(source(root), recorded, restored)
    assert verdict is Verdict.FAILED
    assert "a.env:TOKEN" in detail
    assert secrets_check(source(tmp_path / "elsewhere"), recorded, restored)[0] is Verdict.PROVEN


def test_another_key_proves_nothing(taken: tuple[Path, Observation, Path]) -> None:
    root, recorded, restored = taken
    verdict, detail = secrets_check(source(root, key=KEY[::-1]), recorded, restored)
    assert verdict is Verdict.UNPROVEN
    assert "another key" in detail
    verdict, _ = secrets_check(source(root, key=""), recorded, restored)
    assert verdict is Verdict.UNPROVEN


def test_a_secret_that_cannot_be_read_is_not_missing(open_folder: Path, tmp_path: Path) -> None:
    root = write(open_folder, a="x")
    root.joinpath("a").chmod(0o644)
    recorded, _ = capture_into(source(root), tmp_path / "restored", tmp_path)
    root.joinpath("a").chmod(0)
    with without_privileges():
        verdict, detail = secrets_check(source(root), through_json(recorded), open_folder)
    assert verdict is Verdict.UNPROVEN
    assert "cannot be read" in detail


@pytest.mark.parametrize("text", ["", "[]", '{"version":1}'])
def test_a_listing_that_is_another_is_found(
    taken: tuple[Path, Observation, Path], text: str
) -> None:
    root, recorded, restored = taken
    (restored / LISTING).write_text(text)
    checks = {one.name: one.verdict for one in source(root).check(restored, recorded)}
    assert checks["secrets-listed"] is Verdict.FAILED
