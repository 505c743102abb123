"""One bucket of one server, seen with one credential."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.core.secrets import Secret
from llmvault.objectstore import shapes
from llmvault.objectstore.address import region_of
from llmvault.objectstore.errors import AbsentError, LackingError, error_for
from llmvault.objectstore.model import (
    BucketSettings,
    DefaultLock,
    Head,
    LifecycleRule,
    Location,
    Retention,
    Upload,
    Version,
)

CONNECTIONS = 16
ATTEMPTS = 5
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_MOST_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Credential:
    """A key pair of the object store.

    Attributes:
        name: what it is for, e.g. ``backup``; shown in messages.
    """

    name: str
    access_key: Secret
    secret_key: Secret
    session_token: Secret | None = None


@dataclass
class Bucket:
    """A bucket.

    Requests are retried by botocore (`attempts` in all, with growing pauses) where that is safe:
    every operation here may be repeated. `requests` counts operations by name; one that was retried
    counts once.

    Every method raises:
        UnavailableError: the server cannot be reached, is busy, or does not accept the credential.
        RefusedError: the server says no.
    """

    location: Location
    credential: Credential
    clock: Clock
    region: str = ""
    attempts: int = ATTEMPTS
    requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __str__(self) -> str:
        return f'bucket "{self.location.bucket}" at {self.location.endpoint}'

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401  boto3 has no types
        try:
            from boto3.session import Session
            from botocore.config import Config
        except ImportError as error:
            raise UnavailableError(
                str(self), "boto3 is not installed", "install llmvault[s3]"
            ) from error
        token = self.credential.session_token
        own_session = Session()
        return own_session.client(
            "s3",
            endpoint_url=self.location.endpoint,
            region_name=self.region or region_of(self.location.endpoint),
            aws_access_key_id=self.credential.access_key.reveal(),
            aws_secret_access_key=self.credential.secret_key.reveal(),
            aws_session_token=token.reveal() if token else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "total_max_attempts": self.attempts},
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                max_pool_connections=CONNECTIONS,
                # What follows would otherwise be read from the operator's shell.
                proxies={},
                ignore_configured_endpoint_urls=True,
            ),
        )

    # ------------------------------------------------------------------------------------ settings

    def settings(self) -> BucketSettings:
        """Ask the bucket for everything it says of itself; nothing is concluded from a 200."""
        try:
            answer = self._call("head_bucket")
        except AbsentError:
            return BucketSettings(exists=False)
        asked: dict[str, Any] = {}
        unknown: dict[str, str] = {}
        for name, operation in _SETTINGS.items():
            try:
                asked[name] = self._call(operation)
            except AbsentError:
                asked[name] = {}
            except LackingError as error:
                asked[name], unknown[name] = {}, error.cause
        policy = asked["policy"].get("Policy", "")
        try:
            statements = shapes.statements(policy)
        except ValueError:
            statements, unknown["policy"] = (), "what the server told is no bucket policy"
        lock = asked["lock"].get("ObjectLockConfiguration", {})
        return BucketSettings(
            exists=True,
            versioning=asked["versioning"].get("Status", ""),
            lock_enabled=lock.get("ObjectLockEnabled") == "Enabled",
            lock_default=shapes.default_lock(lock),
            lifecycle=tuple(map(shapes.lifecycle_rule, asked["lifecycle"].get("Rules", ()))),
            encryption=shapes.encryption(asked["encryption"]),
            statements=statements,
            unknown=unknown,
            clock_skew_s=self._skew(answer),
        )

    def _skew(self, answer: Mapping[str, Any]) -> float | None:
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            theirs = parsedate_to_datetime(said)
        except (TypeError, ValueError):
            return None
        if theirs.tzinfo is None:
            theirs = theirs.replace(tzinfo=UTC)
        return (theirs - self.clock.now()).total_seconds()

    def create(self, *, lock: bool) -> None:
        """Create the bucket, with Object Lock if asked; one that is ours already is left alone."""
        region = self.region or region_of(self.location.endpoint)
        constraint = {"LocationConstraint": region}
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": constraint}
        self._call("create_bucket", ObjectLockEnabledForBucket=lock, **where)

    def set_versioning(self, *, enabled: bool) -> None:
        """Switch versioning on, or suspend it."""
        status = {"Status": "Enabled" if enabled else "Suspended"}
        self._call("put_bucket_versioning", VersioningConfiguration=status)

    def set_lock(self, default: DefaultLock | None) -> None:
        """Switch Object Lock on, with what new versions get."""
        configuration: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
        if default is not None:
            rule = {"Mode": default.mode.value, "Days": default.days}
            configuration["Rule"] = {"DefaultRetention": rule}
        self._call("put_object_lock_configuration", ObjectLockConfiguration=configuration)

    def set_lifecycle(self, rules: Iterable[LifecycleRule]) -> None:
        """Replace all lifecycle rules."""
        raw = [shapes.raw_rule(rule) for rule in rules]
        if raw:
            self._call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": raw})
        else:
            self._call("delete_bucket_lifecycle")

    def set_encryption(self, algorithm: str) -> None:
        """Let the server encrypt new objects (``AES256`` or ``aws:kms``)."""
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
        self._call("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def set_policy(self, statements: Iterable[Mapping[str, Any]]) -> None:
        """Replace the bucket policy."""
        listed = [dict(one) for one in statements]
        if listed:
            document = {"Version": "2012-10-17", "Statement": listed}
            self._call("put_bucket_policy", Policy=json.dumps(document))
        else:
            self._call("delete_bucket_policy")

    # ------------------------------------------------------------------------------------- objects

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield every version and delete marker below a prefix, by key, the newest first."""
        for page in self._pages("list_object_versions", prefix):
            yield from shapes.versions(page)

    def objects(self, prefix: str) -> Iterator[Version]:
        """Yield the current version of every object below a prefix; without version ids."""
        for page in self._pages("list_objects_v2", prefix):
            yield from shapes.objects(page)

    def uploads(self, prefix: str) -> tuple[Upload, ...]:
        """Return the multipart uploads that were not finished."""
        return tuple(
            Upload(one["Key"], one["UploadId"], one["Initiated"])
            for page in self._pages("list_multipart_uploads", prefix)
            for one in page.get("Uploads", ())
        )

    def abort_upload(self, upload: Upload) -> None:
        """Throw an unfinished upload away."""
        self._call("abort_multipart_upload", Key=upload.key, UploadId=upload.id)

    def head(self, key: str, version: str = "") -> Head:
        """Return what one HEAD request tells.

        Raises:
            AbsentError: when there is no such object, or a delete marker hides it.
        """
        return shapes.head(self._call("head_object", Key=key, **_version(version)))

    def read(self, key: str, version: str = "") -> bytes:
        """Return the bytes of a small object."""
        body = self._call("get_object", Key=key, **_version(version))["Body"]
        with self._explained("get_object"):
            return bytes(body.read())

    def put(self, key: str, data: bytes, retention: Retention | None = None) -> str:
        """Write a small object; return its version, empty where there are none."""
        lock: dict[str, Any] = {}
        if retention is not None:
            lock["ObjectLockMode"] = retention.mode.value
            lock["ObjectLockRetainUntilDate"] = retention.until
        return str(self._call("put_object", Key=key, Body=data, **lock).get("VersionId", ""))

    def copy_version(self, key: str, version: str) -> str:
        """Put an old version on top again, as a new version; return its id."""
        source = {"Bucket": self.location.bucket, "Key": key, "VersionId": version}
        return str(self._call("copy_object", Key=key, CopySource=source).get("VersionId", ""))

    def retain(self, key: str, version: str, retention: Retention, *, bypass: bool = False) -> None:
        """Lock a version; a lock in compliance mode can only be made longer."""
        lock = {"Mode": retention.mode.value, "RetainUntilDate": retention.until}
        more = {"BypassGovernanceRetention": True} if bypass else {}
        self._call("put_object_retention", Key=key, Retention=lock, **_version(version), **more)

    def hold(self, key: str, version: str, *, on: bool) -> None:
        """Place or lift a legal hold on a version."""
        status = {"Status": "ON" if on else "OFF"}
        self._call("put_object_legal_hold", Key=key, LegalHold=status, **_version(version))

    def delete(self, key: str, version: str = "", *, bypass: bool = False) -> None:
        """Delete one version for good; without a version, hide the object under a marker."""
        more = {"BypassGovernanceRetention": True} if bypass else {}
        self._call("delete_object", Key=key, **_version(version), **more)

    # ------------------------------------------------------------------------------------ requests

    def _call(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401
        client = self._client
        with self._lock:
            self.requests[operation] += 1
        with self._explained(operation):
            return getattr(client, operation)(Bucket=self.location.bucket, **arguments)

    def _pages(self, operation: str, prefix: str) -> Iterator[Any]:
        pages = self._client.get_paginator(operation).paginate(
            Bucket=self.location.bucket, Prefix=prefix, PaginationConfig={"PageSize": _MOST_KEYS}
        )
        with self._explained(operation):
            for page in pages:
                with self._lock:
                    self.requests[operation] += 1
                yield page

    @contextmanager
    def _explained(self, operation: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        thing = f"{self} (credential {self.credential.name})"
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            code = str(said.get("Code") or error.response["ResponseMetadata"]["HTTPStatusCode"])
            raise error_for(thing, operation, code, str(said.get("Message") or "")) from error
        except (HTTPClientError, OSError) as error:
            raise UnavailableError(
                thing, f"{operation}: {error}", "check the address and the network; then try again"
            ) from error
        except BotoCoreError as error:
            raise UnavailableError(
                thing, f"{operation}: {error}", "look at the message; then try again"
            ) from error


_SETTINGS = {
    "versioning": "get_bucket_versioning",
    "lock": "get_object_lock_configuration",
    "lifecycle": "get_bucket_lifecycle_configuration",
    "encryption": "get_bucket_encryption",
    "policy": "get_bucket_policy",
}


def _version(version: str) -> dict[str, str]:
    return {"VersionId": version} if version else {}


def as_utc(moment: datetime) -> datetime:
    """Return a time as S3 keeps it: UTC, whole seconds, never earlier than asked."""
    whole = moment.astimezone(UTC)
    return whole if whole.microsecond == 0 else shapes.next_second(whole)
