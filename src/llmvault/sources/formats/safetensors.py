"""The header of a safetensors file.

Layout (format description in the safetensors README): 8 bytes little-endian header length, a JSON
header that begins with ``{``, then the tensors' data. Tensors lie next to each other in any order
of names, without holes or overlaps, and fill the data section exactly.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from llmvault.sources.formats.documents import parse_strictly
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.names import printable

MAX_HEADER = 100_000_000
_PREFIX = 8
_MAX_COUNT = 1 << 63
_BY_OFFSET = attrgetter("begin", "end")
_BITS: Mapping[str, int] = (
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8)
    | dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
    | dict.fromkeys(("I16", "U16", "F16", "BF16"), 16)
    | dict.fromkeys(("I32", "U32", "F32"), 32)
    | dict.fromkeys(("I64", "U64", "F64", "C64"), 64)
)


class Tensor(NamedTuple):
    """One entry of the header; offsets count from the start of the data section.

    A tuple because a model has up to a hundred thousand of them.
    """

    name: str
    dtype: str
    elements: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header that agrees with its file.

    Attributes:
        tensors: in the order of their data.
        sha256: digest of the JSON header's bytes: it covers every name, shape, type and offset.
        unknown_dtypes: element types this reader has no size for; their sizes were not checked.
    """

    tensors: tuple[Tensor, ...]
    sha256: str
    unknown_dtypes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def parameters_by_dtype(self) -> dict[str, int]:
        """Number of weights of each element type."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.dtype] += tensor.elements
        return dict(sorted(counts.items()))


def read_header(location: Path | str, path: str) -> Header:
    """Return the header of a file, reading nothing behind it.

    Args:
        location: what to open.
        path: how messages name it.

    Raises:
        HeaderError: when header and file disagree.
        OSError: when the file cannot be read.
    """
    with open(location, "rb", buffering=0) as stream:  # noqa: PTH123  surrogate escapes
        size = os.fstat(stream.fileno()).st_size
        length = header_length(stream.read(_PREFIX), size, path)
        return parse_header(stream.read(length), length, size - _PREFIX - length, path)


def header_length(prefix: bytes, file_size: int, path: str) -> int:
    """Return the length in bytes that the first 8 bytes of a file state.

    Raises:
        HeaderError: when it is cut short, above 100 MB, or more than the file holds.
    """
    if len(prefix) < _PREFIX:
        raise HeaderError(path, "header-truncated", f"it has only {file_size} bytes")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise HeaderError(
            path, "header-length", f"it states a header of {length:,} bytes; the limit is 100 MB"
        )
    if length > file_size - _PREFIX:
        raise HeaderError(
            path,
            "header-truncated",
            f"it states a header of {length:,} bytes but has {file_size:,} bytes in all",
        )
    return length


def parse_header(raw: bytes, length: int, data_size: int, path: str) -> Header:
    """Return what the JSON header says, checked against `data_size` bytes of tensor data.

    Raises:
        HeaderError: when it is cut short, no such header, or does not fit the data.
    """
    if len(raw) < length:
        raise HeaderError(path, "header-truncated", f"its header ends after {len(raw):,} bytes")
    if not raw.startswith(b"{"):
        raise HeaderError(path, "header-json", "its header does not begin with {")
    document = parse_strictly(raw, path, fault="header-json")
    if not isinstance(document, dict):
        raise HeaderError(path, "header-json", "its header is no JSON object")
    _check_metadata(document.pop("__metadata__", {}), path)
    tensors = [_tensor(name, entry, path) for name, entry in document.items()]
    tensors.sort(key=_BY_OFFSET)
    _check_layout(tensors, data_size, path)
    unknown = {tensor.dtype for tensor in tensors} - _BITS.keys()
    return Header(tuple(tensors), hashlib.sha256(raw).hexdigest(), tuple(sorted(unknown)))


def _check_metadata(metadata: object, path: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise HeaderError(path, "header-json", "its __metadata__ is no map of texts")


def _tensor(name: str, entry: object, path: str) -> Tensor:
    if not isinstance(entry, dict):
        raise HeaderError(path, "header-json", f"tensor {printable(name)} is no object")
    dtype = entry.get("dtype")
    shape = _counts(entry.get("shape"))
    offsets = _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise HeaderError(
            path,
            "header-json",
            f"tensor {printable(name)} lacks a proper dtype, shape or data_offsets",
        )
    elements = _elements(shape, name, path)
    bits = _BITS.get(dtype)
    if bits is None:
        return Tensor(name, printable(dtype[:64]), elements, offsets[0], offsets[1])
    span = offsets[1] - offsets[0]
    if elements * bits != span * 8:
        cause = f"tensor {printable(name)} of {elements:,} {dtype} does not fit its {span:,} bytes"
        raise HeaderError(path, "header-shape", cause)
    return Tensor(name, dtype, elements, offsets[0], offsets[1])


def _counts(value: object) -> list[int] | None:
    if type(value) is not list:
        return None
    for item in value:
        if type(item) is not int or not 0 <= item < _MAX_COUNT:
            return None
    return value


def _elements(shape: list[int], name: str, path: str) -> int:
    elements = 1
    for dimension in shape:
        elements *= dimension
        if elements >= _MAX_COUNT:
            raise HeaderError(path, "header-shape", f"tensor {printable(name)} has an absurd shape")
    return elements


def _check_layout(tensors: list[Tensor], data_size: int, path: str) -> None:
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            problem = "overlaps what lies before it" if tensor.begin < position else "follows a gap"
            raise HeaderError(
                path,
                "header-offsets",
                f"tensor {printable(tensor.name)} at offset {tensor.begin:,} {problem}",
            )
        if tensor.end < tensor.begin:
            raise HeaderError(
                path, "header-offsets", f"tensor {printable(tensor.name)} ends before it begins"
            )
        position = tensor.end
    if position > data_size:
        raise HeaderError(
            path,
            "header-truncated",
            f"its tensors need {position:,} bytes but only {data_size:,} are there",
        )
    if position < data_size:
        raise HeaderError(
            path, "trailing-bytes", f"{data_size - position:,} bytes at its end belong to no tensor"
        )
