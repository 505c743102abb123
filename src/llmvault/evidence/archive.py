"""The bundle as a zip: the same files give the same bytes, and other bytes are refused. Pure.

Files are stored, not compressed, in the order of their names, with no time and mode 0600. So a
bundle can be written again from its files, and must then be what it was: a changed bit is found
wherever it is, between the files too.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Mapping

from llmvault.core.errors import IntegrityError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:[./][A-Za-z0-9][A-Za-z0-9_-]*)*")
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100600 << 16
_DAMAGED = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, OSError, ValueError),
    *(LookupError, NotImplementedError, RuntimeError, OverflowError),
)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the zip of the files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system = 3
            entry.external_attr = _MODE
            archive.writestr(entry, files[name])
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of a zip; nothing is verified but that they can be read.

    Raises:
        IntegrityError: when it is no zip of stored files with plain names.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or not _NAME.fullmatch(entry.filename):
                    raise IntegrityError("bundle", f"{entry.filename!r} is not as a bundle has it")
            files = {entry.filename: archive.read(entry) for entry in entries}
    except _DAMAGED as error:
        raise IntegrityError("bundle", f"it is no whole zip: {error}") from error
    return files


def is_canonical(data: bytes, files: Mapping[str, bytes]) -> bool:
    """Whether a zip is byte for byte what :func:`pack` makes of its files."""
    return pack(files) == data
