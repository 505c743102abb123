"""What repositories ask of their buckets."""

from __future__ import annotations

import pytest

from llmvault.buckets.plan import declared_buckets, plan_bucket
from llmvault.buckets.statements import same_statements
from llmvault.core.errors import PolicyError
from llmvault.objectstore.model import BucketSettings
from llmvault.policy.model import Repository
from tests.buckets import COMPLIANCE, repository

BACKUP = "arn:aws:iam:::user/backup"
URL = "s3:https://s3.example.org/bucket"


def test_repositories_of_one_bucket_are_set_up_together() -> None:
    (declared,) = declared_buckets(
        {
            "a": repository(f"{URL}/a", lock=COMPLIANCE, backup_principal=BACKUP, tls_only=True),
            "b": repository(f"{URL}/b", lock=COMPLIANCE, backup_principal=BACKUP, tls_only=True),
        }
    )
    assert declared.repositories == ("a", "b")
    assert [rule.prefix for rule in declared.lifecycle] == ["a/", "b/"]
    sids = [statement["Sid"] for statement in declared.statements]
    assert len(sids) == len(set(sids))
    assert sids.count("LlmvaultTls") == 1


def test_what_holds_for_a_bucket_must_be_declared_alike() -> None:
    with pytest.raises(PolicyError, match="lock default"):
        declared_buckets(
            {
                "a": repository(f"{URL}/a", lock=COMPLIANCE),
                "b": repository(f"{URL}/b", lock={"period": "9d"}),
            }
        )


def test_the_backup_credential_may_delete_lock_files_only() -> None:
    (declared,) = declared_buckets({"a": repository(f"{URL}/a", backup_principal=BACKUP)})
    allowed = [s for s in declared.statements if s["Effect"] == "Allow"]
    deleting = [s for s in allowed if any("Delete" in action for action in s["Action"])]
    assert [s["Resource"] for s in deleting] == [["arn:aws:s3:::bucket/a/locks/*"]]
    denied = {a for s in declared.statements if s["Effect"] == "Deny" for a in s["Action"]}
    assert {"s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:PutBucketVersioning"} <= denied


def test_statements_are_compared_by_meaning() -> None:
    one = {"Sid": "x", "Action": ["b", "a"], "Resource": ["r"]}
    assert same_statements([one], [{"Resource": "r", "Sid": "x", "Action": ["a", "b"]}])
    assert not same_statements([one], [{**one, "Action": "a"}])


def test_a_plan_is_named_by_what_it_changes() -> None:
    (declared,) = declared_buckets({"a": repository(f"{URL}/a", lock=COMPLIANCE)})
    absent = plan_bucket(declared, BucketSettings(exists=False))
    there = plan_bucket(declared, BucketSettings(exists=True))
    assert absent.digest != there.digest
    assert absent.digest == plan_bucket(declared, BucketSettings(exists=False)).digest


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lock": {"period": "36h"}}, "whole days"),
        ({"lock": {"period": "3d", "extend_before": "4d"}}, "extend_before"),
        ({"lock": {}, "versioning": False}, "versions"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        repository(f"{URL}/a", **settings)


def test_tls_only_needs_https() -> None:
    with pytest.raises(ValueError, match="tls_only"):
        Repository.model_validate(
            {"url": "s3:http://host/b", "password": "env:P", "object_store": {}}
        )
    with pytest.raises(ValueError, match="s3:"):
        Repository.model_validate({"url": "/b", "password": "env:P", "object_store": {}})
