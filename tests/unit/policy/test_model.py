"""The models' own small rules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmvault.core.secrets import SecretRef
from llmvault.core.units import parse_duration
from llmvault.policy.fields import duration_text, is_local_url
from llmvault.policy.metrics import MetricsPolicy
from llmvault.policy.model import Objectives, Repository
from llmvault.policy.sources import PinnedModel

_DURATIONS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5000))


@given(_DURATIONS)
def test_a_duration_is_written_without_loss(duration: timedelta) -> None:
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(minutes=15), "15m"),
        (timedelta(hours=24, seconds=30), "1d30s"),
        (timedelta(milliseconds=1500), "1.5s"),
        (timedelta(seconds=90), "1m30s"),
    ],
)
def test_a_duration_is_short(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


def test_a_number_is_no_duration() -> None:
    with pytest.raises(ValidationError, match="no unit"):
        Objectives.model_validate({"rto": 15})


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("/srv/repository", True),
        ("../repository", True),
        ("local:/srv/repository", True),
        ("s3:https://s3.example.org/bucket", False),
        ("rest:http://127.0.0.1:8000/", False),
        ("sftp:user@host:/srv", False),
        ("rclone:remote:path", False),
    ],
)
def test_local_repositories_are_told_from_backends(url: str, local: bool) -> None:
    repository = Repository(url=url, password=SecretRef("env", "X"))
    assert is_local_url(url) is local
    assert (repository.local_path is not None) is local


def test_local_prefix_is_not_part_of_the_path() -> None:
    repository = Repository(url="local:/srv/r", password=SecretRef("env", "X"))
    assert repository.local_path == Path("/srv/r")


@pytest.mark.parametrize("password", ["hunter2", 12345, None, {"scheme": "env", "locator": "X"}])
def test_a_password_is_given_by_reference_and_never_repeated(password: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Repository.model_validate({"url": "/srv/r", "password": password})
    [error] = caught.value.errors()
    assert "by reference" in error["msg"]
    assert "hunter2" not in error["msg"]


@pytest.mark.parametrize(
    ("revision", "pinned"),
    [("8dbc27f2903f5ec64364812a10cdfd827a695440", True), ("main", False), ("8dbc27f", False)],
)
def test_only_a_whole_commit_pins(revision: str, pinned: bool) -> None:
    assert PinnedModel(repo="a/b", revision=revision).is_pinned is pinned


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gateway:9091", "is no URL"),
        ("ftp://gateway", "is no URL"),
        ("http://", "is no URL"),
        ("http://gateway:port", "is no URL"),
        ("http://gateway:0", "is no URL"),
        ("http://[gateway", "is no URL"),
        ("http://name:sesame@gateway:9091", "holds a name or password"),
    ],
)
def test_a_pushgateway_is_a_url_without_secrets(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MetricsPolicy(pushgateway=url)
    right = "https://gateway.example.org/push/"
    assert MetricsPolicy(pushgateway=right).pushgateway == right
