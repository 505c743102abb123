"""Stream files: their names, their first and last record, and whether they form a chain.

The names are specified in ``docs/formats/zfs-stream.md``; the records are those of OpenZFS's
``dmu_replay_record`` (``include/sys/zfs_ioctl.h``): 312 bytes, little or big endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.process import Runner
from llmvault.sources.zfs_stream.commands import feed

_RECORD = 312
_BEGIN, _END = 0, 5
_MAGIC = 0x2F5BACBAC
_COMPOUND = 2
_HEADER_TYPE = 0b11
# type and payload length; magic, version, creation time; type and flags; the two guids
_FIRST = "IIQQQIIQQ"
_NAME = re.compile(r"(\d{4})-(?:full|increment-(\d+))-(\d+)\.zfs")
_COMPLAINT = re.compile(r"^(?:Incorrect checksum|Expected checksum|Invalid).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StreamFile:
    """What the name of a stream's file says.

    Attributes:
        place: in its chain, from 0.
        since: guid of the snapshot that it builds on; empty for a full stream.
        guid: of the snapshot that it holds.
    """

    place: int
    since: str
    guid: str

    @property
    def name(self) -> str:
        """The file's name."""
        kind = f"increment-{self.since}" if self.since else "full"
        return f"{self.place:04d}-{kind}-{self.guid}.zfs"


def parse_name(name: str) -> StreamFile | None:
    """Return what a name says; None when it is no stream's."""
    match = _NAME.fullmatch(name)
    return StreamFile(int(match[1]), match[2] or "", match[3]) if match else None


def chain_in(directory: Path) -> tuple[tuple[Path, StreamFile], ...]:
    """Return the streams of a restored directory in the order in which they are received.

    Raises:
        IntegrityError: when there is none, a link of the chain is missing, or one is no whole
            stream.
    """
    names = directory.iterdir() if directory.is_dir() else ()
    found = [(path, stream) for path in sorted(names) if (stream := parse_name(path.name))]
    thing = f"streams in {directory}"
    if not found:
        raise IntegrityError(thing, "there is no stream", "restore the source again")
    if fault := broken_link([stream for _, stream in found]):
        raise IntegrityError(thing, fault, "restore the source again, nothing was received")
    for path, stream in found:
        if fault := fault_of(path, stream):
            raise IntegrityError(f"stream {path}", fault, "restore the source again")
    return tuple(found)


def broken_link(chain: Sequence[StreamFile]) -> str:
    """Return why streams are no chain that begins with a full one; empty when they are."""
    if chain[0].since or chain[0].place:
        return f"the full stream before {chain[0].name} is missing"
    for one, other in pairwise(chain):
        if other.place != one.place + 1 or other.since != one.guid:
            return f"the stream between {one.name} and {other.name} is missing"
    return ""


def fault_of(path: Path, stream: StreamFile) -> str:
    """Return why a file is not the whole stream of its name; empty when it looks like it.

    The first and the last record are read, nothing between them.
    """
    try:
        with path.open("rb") as file:
            first = file.read(_RECORD)
            size = file.seek(0, 2)
            file.seek(max(0, size - _RECORD))
            last = file.read(_RECORD)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    order = _byte_order(first)
    if not order:
        return "it does not begin as a ZFS stream does"
    fields = struct.unpack_from(order + _FIRST, first)
    if size < 2 * _RECORD or struct.unpack_from(order + "II", last) != (_END, 0):
        return "it is cut short: its last record is not there"
    if fields[3] & _HEADER_TYPE == _COMPOUND:
        return ""  # a package; the guids are in the streams that it holds
    if (str(fields[8] or ""), str(fields[7])) != (stream.since, stream.guid):
        return "it is of other snapshots than its name says"
    return ""


def _byte_order(first: bytes) -> str:
    if len(first) < _RECORD:
        return ""
    for order in ("<", ">"):
        fields = struct.unpack_from(order + _FIRST, first)
        if fields[0] == _BEGIN and fields[2] == _MAGIC:
            return order
    return ""


def walk(runner: Runner, files: Iterable[Path]) -> tuple[str, str]:
    """Have ``zstream dump`` go through every record of streams and compare their checksums.

    Returns:
        what is wrong with them, and why it could not be found out; empty for nothing.

    Raises:
        OSError: when a file cannot be read.
    """
    for file in files:
        try:
            done = feed(runner, file, "zstream", "dump")
        except UnavailableError as error:
            return "", f"{error.thing} {error.cause}"
        said = f"{done.stdout}\n{done.stderr}"
        complaint = _COMPLAINT.search(said)
        if done.exit_code != 0 or complaint:
            words = complaint[0].strip() if complaint else done.stderr.strip()[:200]
            return f"{file.name}: zstream dump: {words or f'exit code {done.exit_code}'}", ""
    return "", ""
