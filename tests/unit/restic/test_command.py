"""The argv of every restic call, word for word."""

from __future__ import annotations

import pytest

from llmvault.restic import command
from llmvault.restic.command import BackupOptions

OPTIONS = BackupOptions("gpu-1", ("llmvault:plan=nightly", "llmvault:source=models"))
COMMON = (
    "backup --json --retry-lock 2m --host gpu-1"
    " --tag llmvault:plan=nightly --tag llmvault:source=models"
    " --group-by host,tags --compression auto --pack-size 64"
)


def words(argv: tuple[str, ...]) -> str:
    return " ".join(argv)


def test_reading_a_tree_for_the_first_time() -> None:
    assert words(command.backup_tree(OPTIONS)) == (
        f"{COMMON} --force --no-scan --read-concurrency 2 ."
    )


def test_comparing_with_a_parent() -> None:
    options = BackupOptions(
        "gpu-1",
        OPTIONS.tags,
        parent="1a2b",
        ignore_inode=True,
        compression="off",
        pack_size_mib=32,
        read_concurrency=4,
    )
    expected = COMMON.replace("auto", "off").replace("64", "32")
    assert words(command.backup_tree(options, exclude_file="/s/exclude")) == (
        f"{expected} --parent 1a2b --ignore-inode --exclude-file /s/exclude"
        " --no-scan --read-concurrency 4 ."
    )


def test_reading_named_paths() -> None:
    assert words(command.backup_tree(OPTIONS, files_from="/s/paths")) == (
        f"{COMMON} --force --no-scan --read-concurrency 2 --files-from-raw /s/paths"
    )


def test_reading_a_stream() -> None:
    argv = command.backup_stream(OPTIONS, "database.tar")
    assert words(argv) == f"{COMMON} --stdin --stdin-filename database.tar"


def test_other_calls() -> None:
    assert words(command.version()) == "version --json"
    assert words(command.init()) == "init --json --repository-version 2"
    assert words(command.cat_config()) == "cat config --json --no-lock"
    assert words(command.snapshots()) == "snapshots --json --no-lock"
    assert words(command.snapshots(("a=1", "b"))) == "snapshots --json --no-lock --tag a=1,b"
    assert words(command.dump("1a2b", "/x")) == "dump --no-lock 1a2b /x"
    assert words(command.restore("1a2b", "/t")) == (
        "restore 1a2b --json --verbose=2 --retry-lock 2m --target /t --sparse"
    )


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("/srv/repository", "local"),
        ("relative/dir:with-colon", "local"),
        ("local:/srv/repository", "local"),
        ("s3:https://s3.example.org/bucket", "s3"),
        ("rest:https://host/", "rest"),
        ("sftp:user@host:/srv", "sftp"),
    ],
)
def test_connections_are_set_for_the_backend_of_the_url(url: str, backend: str) -> None:
    assert command.connections(url, 8) == ("-o", f"{backend}.connections=8")
    assert command.connections(url, None) == ()


def test_the_environment_holds_what_argv_must_not() -> None:
    found = command.environment(
        url="s3:https://h/b", password="sesame", cache="/c", backend={"AWS_SECRET_ACCESS_KEY": "k"}
    )
    assert found["RESTIC_REPOSITORY"] == "s3:https://h/b"
    assert found["RESTIC_PASSWORD"] == "sesame"
    assert found["RESTIC_CACHE_DIR"] == "/c"
    assert found["AWS_SECRET_ACCESS_KEY"] == "k"


def test_what_the_operator_exported_is_overruled() -> None:
    """restic would prefer a password file, and refuse a second repository."""
    found = command.environment(url="/r", password="p", cache="/c", backend={})
    assert {name for name, value in found.items() if value == ""} == {
        "RESTIC_REPOSITORY_FILE",
        "RESTIC_PASSWORD_FILE",
        "RESTIC_PASSWORD_COMMAND",
        "RESTIC_KEY_HINT",
    }


def test_a_backend_cannot_replace_the_repository() -> None:
    found = command.environment(
        url="/r", password="p", cache="/c", backend={"RESTIC_PASSWORD": "x"}
    )
    assert found["RESTIC_PASSWORD"] == "p"


def test_a_stream_is_silent_for_hours() -> None:
    """64 KiB of pipe take some 400 lines of progress."""
    assert 400 / float(command.SILENT["RESTIC_PROGRESS_FPS"]) > 24 * 3600
