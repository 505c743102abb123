"""Reading GGUF's primitive values from a stream, within a budget."""

from __future__ import annotations

import struct
from typing import BinaryIO

from llmvault.sources.formats.faults import HeaderError

# Metadata and tensor table together; the largest vocabularies make about 20 MB.
MAX_HEADER = 128 << 20
_CHUNK = 1 << 20
_MAX_DEPTH = 4
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS |= {12: "d"}

Scalar = str | int | float | bool


class Reader:
    """Reads one value after the other; never holds more than a chunk or the value asked for.

    Args:
        stream: positioned at the start of the file.
        size: bytes in the file.
        path: how messages name the file.

    Raises:
        HeaderError: from every method, when the file ends too early or the header has no end.
    """

    def __init__(self, stream: BinaryIO, size: int, path: str) -> None:
        self._stream = stream
        self._limit = min(size, MAX_HEADER)
        self._size = size
        self._path = path
        self._buffer = b""
        self._at = 0
        self._base = 0
        self.use_byte_order("<")

    @property
    def position(self) -> int:
        """Bytes behind us, from the start of the file."""
        return self._base + self._at

    def use_byte_order(self, order: str) -> None:
        """Read numbers as little-endian (``<``) or big-endian (``>``) from now on."""
        self._u32 = struct.Struct(f"{order}I")
        self._u64 = struct.Struct(f"{order}Q")
        self._scalars = {kind: struct.Struct(order + code) for kind, code in _SCALARS.items()}

    def demand(self, count: int, minimum: int, what: str) -> None:
        """Refuse `count` things of at least `minimum` bytes each when they cannot be there."""
        if count * minimum <= self._limit - self.position:
            return
        if self._limit < self._size:
            cause = f"its header is larger than {MAX_HEADER >> 20} MiB at {count:,} {what}"
            raise HeaderError(self._path, "header-length", cause)
        cause = f"it has {self._size:,} bytes and no room for {count:,} {what}"
        raise HeaderError(self._path, "header-truncated", cause)

    def take(self, count: int, what: str) -> bytes:
        """Return the next `count` bytes."""
        self.demand(count, 1, f"bytes of {what}")
        self._fill(count)
        taken = self._buffer[self._at : self._at + count]
        self._at += count
        return taken

    def skip(self, count: int, what: str) -> None:
        """Go past `count` bytes without reading them."""
        self.demand(count, 1, f"bytes of {what}")
        self._at += count
        if self._at > len(self._buffer):
            self._base += self._at
            self._stream.seek(self._base)
            self._buffer, self._at = b"", 0

    def u32(self, what: str) -> int:
        """Return the next unsigned 32-bit number."""
        return int(self._u32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        """Return the next unsigned 64-bit number."""
        return int(self._u64.unpack(self.take(8, what))[0])

    def text(self, limit: int, what: str) -> str:
        """Return the next string; longer than `limit` bytes or not UTF-8 is a fault."""
        length = self.u64(what)
        if length > limit:
            raise HeaderError(
                self._path, "header-length", f"a {what} of {length:,} bytes; the limit is {limit:,}"
            )
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise HeaderError(self._path, "header-text", f"a {what} is not UTF-8") from error

    def value(self, kind: int, longest: int) -> Scalar | None:
        """Return a metadata value; None for arrays and for strings above `longest` bytes."""
        if kind == _STRING:
            return self._value_text(longest)
        if kind == _ARRAY:
            self._skip_array(_MAX_DEPTH)
            return None
        scalar = self._scalar(kind)
        value: Scalar = scalar.unpack(self.take(scalar.size, "a metadata value"))[0]
        return value

    def _value_text(self, longest: int) -> str | None:
        length = self.u64("a metadata text")
        if length > longest:
            self.skip(length, "a metadata text")
            return None
        return self.take(length, "a metadata text").decode("utf-8", "replace")

    def _scalar(self, kind: int) -> struct.Struct:
        if kind not in self._scalars:
            raise HeaderError(self._path, "header-type", f"it has metadata of unknown type {kind}")
        return self._scalars[kind]

    def _skip_array(self, depth: int) -> None:
        kind, count = self.u32("an array's type"), self.u64("an array's length")
        if kind == _STRING:
            self._skip_texts(count)
        elif kind == _ARRAY:
            self._skip_arrays(count, depth)
        else:
            size = self._scalar(kind).size
            self.demand(count, size, "array elements")
            self.skip(count * size, "an array")

    def _skip_arrays(self, count: int, depth: int) -> None:
        if depth == 0:
            raise HeaderError(self._path, "header-type", "its arrays are nested too deeply")
        self.demand(count, 12, "arrays in an array")
        for _ in range(count):
            self._skip_array(depth - 1)

    def _skip_texts(self, count: int) -> None:
        # A vocabulary has hundreds of thousands of texts: the usual one lies inside the buffer.
        self.demand(count, 8, "texts in an array")
        unpack = self._u64.unpack_from
        for _ in range(count):
            at = self._at
            if at + 8 > len(self._buffer):
                self._fill(8)
                at = self._at
            end = at + 8 + unpack(self._buffer, at)[0]
            if end <= len(self._buffer):
                self._at = end
            else:
                self.skip(end - at, "a text in an array")

    def _fill(self, count: int) -> None:
        held = len(self._buffer) - self._at
        if held >= count:
            return
        piece = self._stream.read(max(count - held, _CHUNK))
        self._base += self._at
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        if len(self._buffer) < count:
            raise HeaderError(
                self._path, "header-truncated", f"it ends inside its header at {self._size:,} bytes"
            )
