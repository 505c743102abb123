"""The manifest of a recovery point as bytes: ``docs/formats/recovery-point.md``.

A JSON Lines file of canonical JSON (RFC 8785): the header, then one line per file in the order of
the sources, then, where there is one, a line for whom the file only carries it
(:func:`carried`), then a trailer with the SHA-256 of everything before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.recovery_points.model import FileRecord, Manifest

FORMAT = "llmvault/recovery-point/1"
FILENAME = "recovery-point.jsonl"

_CARRIED = "installation"
_CARRIED_BEGINS = b'{"installation":'
_TRAILER = re.compile(rb'\{"sha256":"([0-9a-f]{64})"\}\n')


class TornManifestError(IntegrityError):
    """It has no end, as when its backup died while it was written: it is no recovery point."""


def encode(
    manifest: Manifest,
    sections: Mapping[str, bytes] | None = None,
    carried: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the bytes of a manifest, with a line end after every line.

    Args:
        sections: source name -> :func:`file_section` of its files, where it is known already.
        carried: JSON values of the installation that it carries into its repositories.
    """
    known = sections or {}
    parts = [canonical_bytes(header(manifest)) + b"\n"]
    for source in manifest.sources:
        section = known.get(source.name)
        if section is None:
            section = file_section(source.name, manifest.files.get(source.name, ()))
        parts.append(section)
    if carried:
        parts.append(canonical_bytes({_CARRIED: dict(carried)}) + b"\n")
    body = b"".join(parts)
    trailer = canonical_bytes({"sha256": hashlib.sha256(body).hexdigest()})
    return body + trailer + b"\n"


def decode(data: bytes) -> Manifest:
    """Return the manifest of its bytes.

    Raises:
        TornManifestError: when it is cut short.
        IntegrityError: when it is altered, or of another format.
    """
    body, trailer = _split(data)
    if trailer != hashlib.sha256(body).hexdigest():
        raise IntegrityError("manifest", "its bytes do not match the digest at its end")
    try:
        manifest = _read(body.split(b"\n")[:-1])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise IntegrityError("manifest", f"it is not in the documented form: {error}") from error
    for source in manifest.sources:
        section = file_section(source.name, manifest.files.get(source.name, ()))
        if section_digest(section) != source.files_sha256:
            raise IntegrityError("manifest", f'the file list of source "{source.name}" was altered')
    return manifest


def carried(data: bytes) -> Mapping[str, Any] | None:
    """Return what the bytes of a manifest carry besides it; None when they carry nothing.

    Raises:
        IntegrityError: as :func:`decode` does.
    """
    body, trailer = _split(data)
    if trailer != hashlib.sha256(body).hexdigest():
        raise IntegrityError("manifest", "its bytes do not match the digest at its end")
    last = body[body.rfind(b"\n", 0, max(0, len(body) - 1)) + 1 :]
    if not last.startswith(_CARRIED_BEGINS):
        return None
    try:
        found = json.loads(last)[_CARRIED]
    except ValueError as error:
        raise IntegrityError("manifest", "what it carries is no JSON") from error
    return found if isinstance(found, dict) else None


def _read(lines: Sequence[bytes]) -> Manifest:
    header = json.loads(lines[0])
    if header.get("format") != FORMAT:
        raise IntegrityError("manifest", f"its format is {header.get('format')!r}, not {FORMAT}")
    manifest = _adapter().validate_python(_decode_vectors(header["recovery_point"]))
    return replace(manifest, files=_read_files(lines[1:]))


def file_section(source: str, files: Iterable[FileRecord]) -> bytes:
    """Return the lines of a source's files, each with its line end."""
    return b"".join(line + b"\n" for line in _file_lines(source, files))


def section_digest(section: bytes) -> str:
    """Return the SHA-256 of a source's lines."""
    return hashlib.sha256(section).hexdigest()


@cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def header(manifest: Manifest) -> dict[str, Any]:
    """Return the first line of a manifest as a JSON value: everything but the files."""
    plain = _adapter().dump_python(replace(manifest, files={}), mode="json")
    del plain["files"]
    return {"format": FORMAT, "recovery_point": _encode_vectors(plain)}


def _file_lines(source: str, files: Iterable[FileRecord]) -> Iterator[bytes]:
    for record in files:
        line: dict[str, Any] = {"source": source, **_path_fields("path", record.path)}
        line |= {"kind": record.kind, "mode": f"{record.mode:04o}", "size": record.size}
        if record.sha256:
            line["sha256"] = record.sha256
        if record.target:
            line |= _path_fields("target", record.target)
        yield canonical_bytes(line)


def _path_fields(name: str, path: str) -> dict[str, str]:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return {f"{name}_base64": base64.b64encode(os.fsencode(path)).decode()}
    return {name: path}


def _path(line: Mapping[str, Any], name: str) -> str:
    if encoded := line.get(f"{name}_base64"):
        return os.fsdecode(base64.b64decode(encoded))
    return str(line.get(name, ""))


def _read_files(lines: Iterable[bytes]) -> dict[str, tuple[FileRecord, ...]]:
    files: dict[str, list[FileRecord]] = {}
    for raw in lines:
        if raw.startswith(_CARRIED_BEGINS):
            continue
        line = json.loads(raw)
        record = FileRecord(
            path=_path(line, "path"),
            kind=line["kind"],
            size=line["size"],
            mode=int(line["mode"], 8),
            sha256=line.get("sha256", ""),
            target=_path(line, "target"),
        )
        files.setdefault(line["source"], []).append(record)
    return {source: tuple(records) for source, records in files.items()}


def _split(data: bytes) -> tuple[bytes, str]:
    cut = data.rfind(b"\n", 0, max(0, len(data) - 1)) + 1
    trailer = _TRAILER.fullmatch(data[cut:])
    if trailer is None:
        raise TornManifestError("manifest", "it is cut short: the digest at its end is missing")
    return data[:cut], trailer[1].decode()


def pack_vector(vector: Iterable[float]) -> str:
    """Return a vector as base64 of little-endian IEEE 754 float32."""
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


def unpack_vector(text: str) -> tuple[float, ...]:
    """Return the vector of :func:`pack_vector`."""
    values = array("f", base64.b64decode(text))
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(values)


def _encode_vectors(plain: dict[str, Any]) -> dict[str, Any]:
    for collection in _collections(plain):
        vectors = collection["sample_vectors"]
        collection["sample_vectors"] = {name: pack_vector(vectors[name]) for name in vectors}
    return plain


def _decode_vectors(plain: dict[str, Any]) -> dict[str, Any]:
    for collection in _collections(plain):
        vectors = collection["sample_vectors"]
        collection["sample_vectors"] = {name: unpack_vector(vectors[name]) for name in vectors}
    return plain


def _collections(plain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for source in plain["sources"]:
        yield from source["observation"]["collections"]
