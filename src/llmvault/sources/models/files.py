"""What the files of models say about themselves: one reading for every source that holds models.

Only headers, indexes and small documents are read, never weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llmvault.sources.formats import gguf, safetensors
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.names import printable
from llmvault.sources.formats.pickled import HEAD_SIZE, is_pickled
from llmvault.sources.interface import Finding
from llmvault.sources.walk import unreadable_finding

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
WEIGHTS_SUFFIXES = (".safetensors", ".gguf", *PICKLE_SUFFIXES)
_ONLY_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZE = 1024
# Smaller files of other names are not opened: a model directory may hold thousands.
_LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A regular file that may belong to a model.

    Attributes:
        path: relative name, as the model knows it.
        location: what to open.
        size: in bytes.
    """

    path: str
    location: str
    size: int

    @property
    def folder(self) -> str:
        """The folder it is in; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name in that folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights and what its header says.

    Attributes:
        format: ``safetensors``, ``gguf`` or ``pickle``.
        summary: JSON values for the manifest; equal summaries mean equal headers.
        tensors: names of its tensors; empty for pickles, which are never opened.
        gguf: the header of a GGUF file.
    """

    file: ModelFile
    format: str
    summary: Mapping[str, Any]
    tensors: frozenset[str] = frozenset()
    gguf: gguf.Header | None = None

    @property
    def parameters(self) -> int:
        """Number of weights; 0 for pickles."""
        return int(self.summary.get("parameters", 0))


@dataclass(slots=True)
class Reading:
    """Weights that were read, and what was wrong with others. Grows while files are read."""

    weights: dict[str, Weights] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, name: str, path: str, detail: str, *, severity: str = "failed") -> None:
        """Add a finding on a file."""
        self.findings.append(Finding(name, printable(path), detail, severity))

    def summaries(self) -> dict[str, Any]:
        """Return path -> summary of all weights, as the manifest keeps them."""
        return {printable(path): dict(self.weights[path].summary) for path in sorted(self.weights)}


def read_weights(files: Iterable[ModelFile]) -> Reading:
    """Return what the headers of all weights among the files say."""
    reading = Reading()
    for file in files:
        with _noting(file, reading):
            _read(file, reading)
    return reading


def read_gguf(file: ModelFile, reading: Reading) -> None:
    """Read the header of a file that must be a GGUF, whatever its name."""
    with _noting(file, reading):
        reading.weights[file.path] = _gguf(file, reading)


@contextmanager
def _noting(file: ModelFile, reading: Reading) -> Iterator[None]:
    try:
        yield
    except HeaderError as error:
        reading.note(error.name, file.path, error.cause)
    except OSError as error:
        reading.findings.append(unreadable_finding(file.path, error))


def _read(file: ModelFile, reading: Reading) -> None:
    name = file.name.lower()
    if file.size < _LARGE and not name.endswith(WEIGHTS_SUFFIXES):
        return
    head = _head(file)
    if file.size < _POINTER_SIZE and head.startswith(_POINTER):
        reading.note(
            "lfs-pointer", file.path, "it is a Git LFS pointer, not the weights: run git lfs pull"
        )
    elif name.endswith(".safetensors"):
        reading.weights[file.path] = _safetensors(file, reading)
    elif name.endswith(".gguf") or head.startswith(gguf.MAGIC):
        reading.weights[file.path] = _gguf(file, reading)
    elif is_pickled(head):
        reading.weights[file.path] = Weights(
            file, "pickle", {"format": "pickle", "size": file.size}
        )
        detail = "it is a pickle: loading it runs code in it; prefer safetensors"
        reading.note("pickle-weights", file.path, detail, severity="warning")
    elif name.endswith(PICKLE_SUFFIXES) and file.size == 0:
        reading.note("weights-empty", file.path, "it is empty", severity="warning")
    elif name.endswith(_ONLY_PICKLES):
        detail = "its name says pickle, its first bytes do not: treat it as unsafe to load"
        reading.note("pickle-weights", file.path, detail, severity="warning")


def _head(file: ModelFile) -> bytes:
    with open(file.location, "rb", buffering=0) as stream:  # noqa: PTH123  surrogate escapes
        return stream.read(HEAD_SIZE)


def _safetensors(file: ModelFile, reading: Reading) -> Weights:
    header = safetensors.read_header(file.location, file.path)
    _note_unknown(file, header.unknown_dtypes, reading)
    summary = {
        "format": "safetensors",
        "size": file.size,
        "tensors": len(header.tensors),
        "parameters": header.parameters,
        "dtypes": header.parameters_by_dtype,
        "header_sha256": header.sha256,
    }
    names = frozenset(tensor.name for tensor in header.tensors)
    return Weights(file, "safetensors", summary, names)


def _gguf(file: ModelFile, reading: Reading) -> Weights:
    header = gguf.read_header(file.location, file.path)
    _note_unknown(file, header.unknown_dtypes, reading)
    summary = {
        "format": "gguf",
        "size": file.size,
        "version": header.version,
        "architecture": header.architecture,
        "tensors": len(header.tensors),
        "parameters": header.parameters,
        "dtypes": header.parameters_by_dtype,
        "quantization": header.quantization,
        "header_sha256": header.sha256,
    }
    names = frozenset(tensor.name for tensor in header.tensors)
    return Weights(file, "gguf", summary, names, header)


def _note_unknown(file: ModelFile, dtypes: tuple[str, ...], reading: Reading) -> None:
    if dtypes:
        detail = f"it has tensors of types whose size is not known: {', '.join(dtypes[:5])}"
        reading.note("unknown-dtype", file.path, detail, severity="unproven")
