"""The S3 API's answers and arguments, to and from our types. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from llmvault.objectstore.model import (
    DefaultLock,
    Head,
    LifecycleRule,
    LockMode,
    Retention,
    Version,
)

_DAYS_OF_A_YEAR = 365


def default_lock(configuration: Mapping[str, Any]) -> DefaultLock | None:
    """Return what new versions get; years count as 365 days, as S3 counts them."""
    rule = configuration.get("Rule", {}).get("DefaultRetention", {})
    days = rule.get("Days") or (rule.get("Years") or 0) * _DAYS_OF_A_YEAR
    return DefaultLock(LockMode(rule["Mode"]), int(days)) if rule.get("Mode") and days else None


def lifecycle_rule(raw: Mapping[str, Any]) -> LifecycleRule:
    """Return a rule; what we do not model stays in `raw`."""
    wanted = raw.get("Filter", {})
    prefix = wanted.get("Prefix", wanted.get("And", {}).get("Prefix", raw.get("Prefix", "")))
    return LifecycleRule(
        id=str(raw.get("ID", "")),
        prefix=str(prefix or ""),
        enabled=raw.get("Status") == "Enabled",
        noncurrent_days=raw.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        abort_days=raw.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
        raw=dict(raw),
    )


def raw_rule(rule: LifecycleRule) -> dict[str, Any]:
    """Return a rule as the API takes it; one that came from the server as it came."""
    if rule.raw:
        return dict(rule.raw)
    raw: dict[str, Any] = {
        "ID": rule.id,
        "Status": "Enabled" if rule.enabled else "Disabled",
        "Filter": {"Prefix": rule.prefix},
    }
    if rule.noncurrent_days is not None:
        raw["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule.noncurrent_days}
    if rule.abort_days is not None:
        raw["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
    return raw


def encryption(answer: Mapping[str, Any]) -> str:
    """Return the algorithm of the default encryption."""
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    for rule in rules:
        found = rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm")
        if found:
            return str(found)
    return ""


def statements(text: str) -> tuple[Mapping[str, Any], ...]:
    """Return the statements of a bucket policy.

    Raises:
        ValueError: when the text is no policy.
    """
    if not text:
        return ()
    document = json.loads(text)
    found = document.get("Statement", []) if isinstance(document, dict) else None
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in listed):
        raise ValueError("is no bucket policy")
    return tuple(listed)


def versions(page: Mapping[str, Any]) -> Iterator[Version]:
    """Yield the versions and markers of a page, by key, the newest first."""
    rows = [_version(raw, marker=False) for raw in page.get("Versions", ())]
    rows += [_version(raw, marker=True) for raw in page.get("DeleteMarkers", ())]
    rows.sort(key=lambda one: (one.key, not one.latest, -one.modified.timestamp()))
    yield from rows


def objects(page: Mapping[str, Any]) -> Iterator[Version]:
    """Yield the objects of a page of a plain listing."""
    for raw in page.get("Contents", ()):
        yield Version(
            raw["Key"], "", True, False, raw["LastModified"], int(raw.get("Size", 0)),
            raw.get("StorageClass") or "STANDARD",
        )  # fmt: skip


def head(answer: Mapping[str, Any]) -> Head:
    """Return what a HEAD request told."""
    mode, until = answer.get("ObjectLockMode"), answer.get("ObjectLockRetainUntilDate")
    return Head(
        version=str(answer.get("VersionId", "")),
        size=int(answer.get("ContentLength", 0)),
        retention=Retention(LockMode(mode), until) if mode and until else None,
        legal_hold=answer.get("ObjectLockLegalHoldStatus") == "ON",
        storage_class=answer.get("StorageClass") or "STANDARD",
    )


def next_second(moment: datetime) -> datetime:
    """Return the whole second after a moment."""
    return moment.replace(microsecond=0) + timedelta(seconds=1)


def _version(raw: Mapping[str, Any], *, marker: bool) -> Version:
    return Version(
        key=raw["Key"],
        id=str(raw.get("VersionId") or ""),
        latest=bool(raw.get("IsLatest")),
        marker=marker,
        modified=raw["LastModified"],
        size=int(raw.get("Size", 0)),
        storage_class=raw.get("StorageClass") or "STANDARD",
    )
