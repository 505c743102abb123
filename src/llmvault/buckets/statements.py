"""The statements of a bucket policy. Pure.

The backup credential may add, and take away nothing but restic's own lock files: without that
right every backup would leave one behind. What the owner may is written down as well, because on
some servers an object belongs to who wrote it, and the bucket's owner could not read it. Names of
actions and conditions are those of the AWS policy language (version 2012-10-17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmvault.buckets.model import Principals
from llmvault.core.canonical import canonical_bytes
from llmvault.objectstore.model import Location

OURS = "Llmvault"
CANARIES = "llmvault-canary"
_READ = (
    "s3:GetBucketLocation", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning",
    "s3:GetLifecycleConfiguration", "s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion",
    "s3:ListBucket", "s3:ListBucketVersions",
)  # fmt: skip
_APPEND = (
    "s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
    "s3:PutObject",
)  # fmt: skip
_NEVER = (
    "s3:BypassGovernanceRetention", "s3:DeleteBucket", "s3:DeleteBucketPolicy",
    "s3:DeleteObjectVersion", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketPolicy",
    "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration", "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
)  # fmt: skip
_KEPT = ("config", "data/*", "index/*", "keys/*", "snapshots/*", f"{CANARIES}/*")


def repository_statements(
    name: str, location: Location, principals: Principals
) -> tuple[Mapping[str, Any], ...]:
    """Return what the policy says for one repository."""
    bucket = f"arn:aws:s3:::{location.bucket}"
    below = f"{bucket}/{location.key('*')}"
    # a name such as a-b.c becomes AB, and something of it that tells it from ab.c
    sid = f"{OURS}{''.join(part.capitalize() for part in _words(name))}{len(name)}"
    made: list[Mapping[str, Any]] = []
    if principals.owner:
        made.append(_allow(f"{sid}Owner", principals.owner, ("s3:*",), (bucket, below)))
    if principals.read_only:
        made.append(_allow(f"{sid}Read", principals.read_only, _READ, (bucket, below)))
    if principals.backup:
        locks = f"{bucket}/{location.key('locks/*')}"
        kept = tuple(f"{bucket}/{location.key(part)}" for part in _KEPT)
        who = principals.backup
        made += [
            _allow(f"{sid}Append", who, (*_READ, *_APPEND), (bucket, below)),
            _allow(f"{sid}Unlock", who, ("s3:DeleteObject",), (locks,)),
            _deny(f"{sid}Keep", who, ("s3:DeleteObject",), kept),
            _deny(f"{sid}Never", who, _NEVER, (bucket, below)),
        ]
    return tuple(made)


def tls_statement(location: Location) -> Mapping[str, Any]:
    """Return what refuses requests that do not come through TLS."""
    bucket = f"arn:aws:s3:::{location.bucket}"
    return {
        **_deny(f"{OURS}Tls", "*", ("s3:*",), (bucket, f"{bucket}/*")),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def is_ours(statement: Mapping[str, Any]) -> bool:
    """Whether a statement was written by llmvault; others stay as they are."""
    return str(statement.get("Sid", "")).startswith(OURS)


def same_statements(one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two sets of statements say the same, whatever their order and spelling."""
    return sorted(map(_canonical, one)) == sorted(map(_canonical, other))


def _canonical(statement: Mapping[str, Any]) -> bytes:
    return canonical_bytes(_normal(dict(statement)))


def _normal(value: object) -> object:
    """Return a value with lists sorted, and lists of one as that one."""
    if isinstance(value, dict):
        return {key: _normal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        listed = sorted((_normal(inner) for inner in value), key=str)
        return listed[0] if len(listed) == 1 else listed
    return value


def _words(name: str) -> list[str]:
    text = "".join(letter if letter.isalnum() else " " for letter in name)
    return text.split()


def _allow(
    sid: str, who: str, actions: tuple[str, ...], resources: tuple[str, ...]
) -> dict[str, Any]:
    return _statement(sid, "Allow", who, actions, resources)


def _deny(
    sid: str, who: str, actions: tuple[str, ...], resources: tuple[str, ...]
) -> dict[str, Any]:
    return _statement(sid, "Deny", who, actions, resources)


def _statement(
    sid: str, effect: str, who: str, actions: tuple[str, ...], resources: tuple[str, ...]
) -> dict[str, Any]:
    principal: Any = who if who == "*" else {"AWS": [who]}
    return {
        "Sid": sid,
        "Effect": effect,
        "Principal": principal,
        "Action": sorted(actions),
        "Resource": list(resources),
    }
