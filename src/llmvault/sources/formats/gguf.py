"""The header of a GGUF file: metadata and tensor table, checked against the file.

Layout (ggml's ``docs/gguf.md``, versions 2 and 3): magic ``GGUF``, version, tensor count, metadata
count, the metadata, the tensor table, padding to the alignment, the tensors' data.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.gguf_reader import Reader, Scalar
from llmvault.sources.formats.gguf_types import TENSOR_TYPES
from llmvault.sources.formats.names import printable

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_MAX_METADATA = 1 << 16
_MAX_TENSORS = 250_000
_MAX_NAME = (1 << 16) - 1
_MAX_TEXT = 4096
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 1 << 63


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the tensor table.

    Attributes:
        dtype: name of its type, or its number when this reader does not know it.
        offset: from the start of the data section.
        size: bytes of its data; None for an unknown type.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int | None

    @property
    def elements(self) -> int:
        """How many weights it holds."""
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count


@dataclass(frozen=True, slots=True)
class Header:
    """A header that agrees with its file.

    Attributes:
        metadata: key -> value, without arrays and without texts above 4 KiB.
        tensors: in the order of the table.
        sha256: digest of everything before the data section, vocabulary included.
        unknown_dtypes: tensor types whose sizes could not be checked.
    """

    version: int
    metadata: Mapping[str, Scalar]
    tensors: tuple[Tensor, ...]
    sha256: str
    unknown_dtypes: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """The ``general.architecture``, e.g. ``llama``; empty when it is not stated."""
        value = self.metadata.get("general.architecture", "")
        return printable(value) if isinstance(value, str) else ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def parameters_by_dtype(self) -> dict[str, int]:
        """Number of weights of each tensor type."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.dtype] += tensor.elements
        return dict(sorted(counts.items()))

    @property
    def quantization(self) -> str:
        """The type that holds most of the weights; empty without tensors."""
        counts = self.parameters_by_dtype
        return max(counts, key=lambda dtype: counts[dtype]) if counts else ""


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
        return parse_header(stream, os.fstat(stream.fileno()).st_size, path)


def parse_header(stream: BinaryIO, size: int, path: str) -> Header:
    """Return the header of the GGUF file that a seekable stream of `size` bytes holds.

    Raises:
        HeaderError: when header and file disagree.
    """
    reader = Reader(stream, size, path)
    if reader.take(4, "the magic") != MAGIC:
        raise HeaderError(path, "header-magic", "it does not begin with GGUF")
    version = _version(reader, path)
    tensor_count = _count(reader, _MAX_TENSORS, "tensors", path)
    metadata_count = _count(reader, _MAX_METADATA, "metadata entries", path)
    metadata = _metadata(reader, metadata_count, path)
    alignment = _alignment(metadata, path)
    tensors = _tensors(reader, tensor_count, path)
    data_start = -(-reader.position // alignment) * alignment
    _check_layout(tensors, size - data_start, alignment, path)
    unknown = sorted({tensor.dtype for tensor in tensors if tensor.size is None})
    sha256 = _digest(stream, reader.position)
    return Header(version, metadata, tuple(tensors), sha256, tuple(unknown))


def _version(reader: Reader, path: str) -> int:
    raw = reader.take(4, "the version")
    little, big = int.from_bytes(raw, "little"), int.from_bytes(raw, "big")
    if big in _VERSIONS:
        reader.use_byte_order(">")
        return big
    if little not in _VERSIONS:
        raise HeaderError(path, "header-version", f"it is of GGUF version {little}, not 2 or 3")
    return little


def _count(reader: Reader, limit: int, what: str, path: str) -> int:
    count = reader.u64(f"the number of {what}")
    if count > limit:
        raise HeaderError(path, "header-count", f"it states {count:,} {what}; no model has so many")
    return count


def _metadata(reader: Reader, count: int, path: str) -> dict[str, Scalar]:
    metadata: dict[str, Scalar] = {}
    seen: set[str] = set()
    for _ in range(count):
        key = reader.text(_MAX_NAME, "metadata key")
        if key in seen:
            raise HeaderError(path, "header-duplicate", f"metadata {printable(key)} occurs twice")
        seen.add(key)
        value = reader.value(reader.u32("a metadata type"), _MAX_TEXT)
        if value is not None:
            metadata[key] = value
    return metadata


def _alignment(metadata: Mapping[str, Scalar], path: str) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    good = type(alignment) is int and 8 <= alignment <= _MAX_ALIGNMENT and alignment % 8 == 0
    if not isinstance(alignment, int) or not good:
        raise HeaderError(path, "header-alignment", "its alignment is no multiple of 8")
    return alignment


def _tensors(reader: Reader, count: int, path: str) -> list[Tensor]:
    reader.demand(count, 24, "tensors")
    tensors = [_tensor(reader, path) for _ in range(count)]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise HeaderError(path, "header-duplicate", "two of its tensors have the same name")
    return tensors


def _tensor(reader: Reader, path: str) -> Tensor:
    name = reader.text(_MAX_NAME, "tensor name")
    dimensions = reader.u32("a tensor's dimensions")
    if dimensions > _MAX_DIMENSIONS:
        raise HeaderError(
            path, "header-shape", f"tensor {printable(name)} states {dimensions:,} dimensions"
        )
    shape = tuple(reader.u64("a tensor's shape") for _ in range(dimensions))
    number = reader.u32("a tensor's type")
    offset = reader.u64("a tensor's offset")
    known = TENSOR_TYPES.get(number)
    elements = _elements(shape, name, path)
    if known is None:
        return Tensor(name, f"type-{number}", shape, offset, None)
    if shape and shape[0] % known.block:
        raise HeaderError(
            path,
            "header-shape",
            f"tensor {printable(name)} has rows of {shape[0]:,} weights, "
            f"but {known.name} stores blocks of {known.block}",
        )
    return Tensor(name, known.name, shape, offset, elements // known.block * known.size)


def _elements(shape: tuple[int, ...], name: str, path: str) -> int:
    elements = 1
    for dimension in shape:
        elements *= dimension
        if elements >= _MAX_ELEMENTS:
            raise HeaderError(path, "header-shape", f"tensor {printable(name)} has an absurd shape")
    return elements


def _check_layout(tensors: list[Tensor], data_size: int, alignment: int, path: str) -> None:
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size or 0)):
        if tensor.offset % alignment:
            raise HeaderError(
                path, "header-alignment", f"tensor {printable(tensor.name)} is not aligned"
            )
        if tensor.offset < position:
            raise HeaderError(
                path,
                "header-offsets",
                f"tensor {printable(tensor.name)} overlaps what lies before it",
            )
        position = tensor.offset + (tensor.size or 0)
        if position > data_size:
            raise HeaderError(
                path,
                "header-truncated",
                f"tensor {printable(tensor.name)} ends at byte {position:,} of the data, "
                f"but only {max(data_size, 0):,} are there",
            )


def _digest(stream: BinaryIO, length: int) -> str:
    hasher = hashlib.sha256()
    stream.seek(0)
    while length > 0 and (piece := stream.read(min(length, 1 << 20))):
        hasher.update(piece)
        length -= len(piece)
    return hasher.hexdigest()
