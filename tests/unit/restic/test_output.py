"""What restic prints, as types; lines as restic 0.18.0 printed them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.restic.output import (
    BackupSummary,
    ErrorMessage,
    FileDone,
    Message,
    RestoreSummary,
    Status,
    parse_errors,
    parse_line,
    parse_snapshots,
    parse_version,
)

LINES: dict[str, Message | None] = {
    '{"message_type":"status","percent_done":0,"total_files":1,"current_files":["/x"]}': Status(
        0, 0
    ),
    '{"message_type":"status","seconds_elapsed":1,"percent_done":0.5,"total_files":2,'
    '"files_done":1,"total_bytes":20,"bytes_done":10}': Status(10, 1),
    '{"message_type":"status","total_files":2,"files_restored":1,"total_bytes":3002000,'
    '"bytes_restored":257790}': Status(257790, 1),
    '{"message_type":"verbose_status","action":"restored","item":"/a/small","size":2000}': FileDone(
        "a/small"
    ),
    '{"message_type":"verbose_status","action":"updated","item":"/a"}': FileDone("a"),
    '{"message_type":"verbose_status","action":"unchanged","item":"/a"}': FileDone("a"),
    '{"message_type":"verbose_status","action":"new","item":"/a","duration":0.1}': None,
    '{"message_type":"verbose_status","action":"deleted","item":"/a"}': None,
    '{"message_type":"summary","files_new":1,"files_changed":0,"files_unmodified":7,'
    '"dirs_new":1,"data_blobs":1,"tree_blobs":2,"data_added":703,"data_added_packed":663,'
    '"total_files_processed":8,"total_bytes_processed":3,"total_duration":0.24182896,'
    '"backup_start":"2026-11-23T20:00:16.290037383Z","snapshot_id":"e1da"}': BackupSummary(
        "e1da", 8, 3, 663, 7, 0.24182896
    ),
    '{"message_type":"summary","files_new":0,"snapshot_id":"e1da"}': BackupSummary(
        "e1da", 0, 0, 0, 0, 0.0
    ),
    '{"message_type":"summary","total_files":2,"files_restored":1,"total_bytes":3002000,'
    '"bytes_restored":257790}': RestoreSummary(1, 257790),
    '{"message_type":"error","error":{"message":"open bad: permission denied"},'
    '"during":"archival","item":"/srv/bad"}': ErrorMessage(
        "open bad: permission denied", "/srv/bad"
    ),
    '{"message_type":"error","error":"plain","item":"/a"}': ErrorMessage("plain", "/a"),
    '{"message_type":"error","message":"bare"}': ErrorMessage("bare"),
    '{"message_type":"exit_error","code":12,"message":"Fatal: wrong password"}': ErrorMessage(
        "Fatal: wrong password", "", 12
    ),
    '{"message_type":"initialized","id":"a8dd","repository":"r"}': None,
    '{"message_type":"something new","code":1}': None,
    '{"no":"type"}': None,
    "[1, 2]": None,
    "5": None,
    "null": None,
    "": None,
    "repository a8dd opened (version 2)": None,
    '{"message_type":"status"': None,
}


@pytest.mark.parametrize("line", LINES)
def test_every_message(line: str) -> None:
    assert parse_line(line) == LINES[line]


json_values = st.sampled_from(
    [None, True, -1, 2**70, 0.5, 1e400, "", "7", "x", [], [1], {}, {"a": 1}]
)
KEYS = ["error", "item", "message", "code", "bytes_done", "files_done", "snapshot_id", "action"]
KEYS += ["total_files_processed", "total_duration", "files_restored", "bytes_restored", "files_new"]


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_line(text)
    parse_errors((text,))


@given(
    st.sampled_from(["status", "verbose_status", "summary", "error", "exit_error"]),
    st.dictionaries(st.sampled_from(KEYS), json_values),
)
def test_no_value_breaks_the_parser(kind: str, values: dict[str, object]) -> None:
    parse_line(json.dumps({**values, "message_type": kind}))


def test_errors_are_json_or_plain_text() -> None:
    assert parse_errors(
        (
            '{"message_type":"error","error":{"message":"denied"},"item":"/a"}',
            "",
            "  ",
            "panic: runtime error",
            '{"message_type":"status"}',
            '{"message_type":"exit_error","code":1,"message":"Fatal: no"}',
        )
    ) == (
        ErrorMessage("denied", "/a"),
        ErrorMessage("panic: runtime error"),
        ErrorMessage("Fatal: no", "", 1),
    )


SNAPSHOTS = """[
 {"time":"2026-11-23T20:00:16.290037383+02:00","parent":"x","tree":"t","paths":["/srv"],
  "hostname":"gpu-1","username":"root","tags":["llmvault:plan=nightly","plain"],
  "program_version":"restic 0.18.0","id":"bb","short_id":"bb"},
 {"time":"2026-11-22T20:00:16Z","tree":"t","paths":null,"id":"aa"}
]"""


def test_snapshots_are_oldest_first_in_utc() -> None:
    first, second = parse_snapshots(SNAPSHOTS)
    assert (first.id, first.host, first.tags, first.paths) == ("aa", "", (), ())
    assert second.time == datetime(2026, 11, 23, 18, 0, 16, 290037, UTC)
    assert (second.host, second.paths) == ("gpu-1", ("/srv",))
    assert (second.tag("llmvault:plan"), second.tag("plain"), second.tag("llmvault")) == (
        "nightly",
        "",
        "",
    )


@pytest.mark.parametrize("text", ["", "null", "[]"])
def test_no_snapshots(text: str) -> None:
    assert parse_snapshots(text) == ()


@pytest.mark.parametrize(
    "text", ["{", '[{"time": "2026-01-01T00:00:00Z"}]', '[{"id": "a"}]', "[5]"]
)
def test_another_listing_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_snapshots(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"message_type":"version","version":"0.18.0","go_version":"go1.24.4"}', (0, 18, 0)),
        ("restic 0.16.5 compiled with go1.22 on linux/amd64", (0, 16, 5)),
        ("restic 0.18.0-dev (compiled manually)", (0, 18, 0)),
        ('{"version":"0.19.1+ds1"}', (0, 19, 1)),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "restic", "{}", "restic version", '{"version": null}'])
def test_no_version(text: str) -> None:
    with pytest.raises((ValueError, KeyError, IndexError)):
        parse_version(text)
