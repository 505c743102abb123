"""What a policy may say of telling people."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.policy.load import load_policy
from llmvault.policy.notify import event_kinds
from llmvault.policy.problems import PolicyFilesError
from tests.fakes.policy_files import SMALL, load


def test_events_are_of_findings_and_of_runs() -> None:
    assert {"overdue", "backup-proven", "retention-unproven", "digest-died"} <= set(event_kinds())


def test_what_targets_share_can_be_a_default(tmp_path: Path) -> None:
    text = (
        SMALL
        + """
    defaults: {target: {attempts: 2, file: {repeat: null}}}
    notify: {log: {kind: file, path: told.jsonl, quiet: [nights]}}
    windows: {nights: {start: "22:00", end: "06:00"}}
    """
    )
    target = load(tmp_path, text).policy.notify["log"]
    assert (target.attempts, getattr(target, "repeat", 0)) == (2, None)
    assert getattr(target, "path", None) == tmp_path / "told.jsonl"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notify: {a: {kind: chat}}", "apprise"),
        ("notify: {a: {kind: apprise, url: 'json://x/y-t0ken'}}", "by reference"),
        ("notify: {a: {kind: ping, url: 'env:A'}}", "one check is for one job"),
        ("notify: {a: {kind: ping, url: 'env:A', jobs: [nope]}}", 'there is no job "nope"'),
        ("notify: {a: {kind: file, path: /x, quiet: [nope]}}", 'there is no "nope" in windows'),
        ("notify: {a: {kind: file, path: /x, at_least: fatal}}", "critical"),
        ("notify: {a: {kind: email, server: s, sender: s, recipients: [a@b]}}", "no e-mail"),
        (
            "notify: {a: {kind: email, server: s, security: none, user: 'env:A', password: "
            "'env:B', sender: a@b, recipients: [a@b]}}",
            "in the clear",
        ),
        ("telling: {severities: {overdu: error}}", "overdue"),
    ],
)
def test_what_is_wrong_with_a_policy_is_told_with_its_place(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "notify.yaml"
    file.write_text(f"\n{text}\n")
    with pytest.raises(PolicyFilesError) as caught:
        load_policy(tmp_path, {})
    told = [str(one) for one in caught.value.problems]
    assert any(words in one and one.startswith(f"{file}:2:") for one in told), told
    assert "t0ken" not in str(told)
