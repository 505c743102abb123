"""Restic's addresses of S3 repositories. Pure.

Forms of restic's documentation ("Preparing a new repository", Amazon S3 and S3-compatible):
``s3:https://host[:port]/bucket[/prefix]``, ``s3:host/bucket[/prefix]``, ``s3://host/bucket…``.
"""

from __future__ import annotations

import re

from llmvault.objectstore.model import Location

_SCHEME = "s3:"
_REGION = re.compile(r"\bs3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com$")


def is_object_store(url: str) -> bool:
    """Whether a repository's address is one of an S3 server."""
    return url.startswith(_SCHEME)


def parse_location(url: str) -> Location:
    """Return where a repository lies.

    Raises:
        ValueError: when the address is not that of a bucket on an S3 server.
    """
    if not is_object_store(url):
        raise ValueError("is not the address of an S3 repository (s3:https://host/bucket/prefix)")
    rest = url.removeprefix(_SCHEME)
    scheme = "https"
    for known in ("https", "http"):
        if rest.startswith(f"{known}://"):
            scheme, rest = known, rest.removeprefix(f"{known}://")
    host, _, path = rest.lstrip("/").partition("/")
    bucket, _, prefix = path.strip("/").partition("/")
    if not host or not bucket:
        raise ValueError("names no host or no bucket: write s3:https://host/bucket/prefix")
    return Location(f"{scheme}://{host}", bucket, prefix.strip("/"))


def region_of(endpoint: str) -> str:
    """Return the region that an Amazon endpoint names; ``us-east-1`` for any other server."""
    found = _REGION.search(endpoint)
    return found[1] if found else "us-east-1"
