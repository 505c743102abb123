"""Chroma's collections and records as values. Nothing here talks to Chroma."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.sources.interface import CollectionFacts

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"


@dataclass(frozen=True, slots=True, order=True)
class Database:
    """A database of a tenant: Chroma's two levels above a collection."""

    tenant: str = DEFAULT_TENANT
    name: str = DEFAULT_DATABASE


@dataclass(frozen=True, slots=True)
class CollectionHeader:
    """A collection without its records.

    Attributes:
        dimension: of its vectors; None while nothing has been added.
        configuration: index parameters and embedding function, as the store states them.
        metadata: the user's own; None when there is none.
        schema: per-key index settings, as the store states them; None when it states none.
    """

    database: Database
    name: str
    dimension: int | None
    configuration: Mapping[str, Any]
    metadata: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None = None

    @property
    def qualified_name(self) -> str:
        """The name alone in the default database, else ``tenant/database/name``."""
        if self.database == Database():
            return self.name
        return f"{self.database.tenant}/{self.database.name}/{self.name}"

    @property
    def gives_vectors_back_exactly(self) -> bool:
        """Whether a vector that was read and loaded again is read with the same bits.

        In cosine space Chroma keeps a vector as its direction and its length; their product differs
        in the last bits, and again after each further load.
        """
        index = self.configuration.get("hnsw") or self.configuration.get("spann") or {}
        return bool(index.get("space", "l2") != "cosine")


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        embedding: the vector as float32, little endian, 4 bytes a value.
        metadata: JSON values only.
    """

    id: str
    embedding: bytes
    document: str | None = None
    metadata: Mapping[str, Any] | None = None
    uri: str | None = None

    def line(self) -> bytes:
        """Return the canonical line of the record, without the line end.

        Raises:
            IntegrityError: when a metadata value has no JSON form (NaN, an infinity).
        """
        return self._canonical(base64.b64encode(self.embedding).decode("ascii"))

    def digest(self, *, with_vector: bool) -> str:
        """Return the SHA-256 (64 hex digits) of :meth:`line`, with or without the vector in it."""
        line = self.line() if with_vector else self._canonical(None)
        return hashlib.sha256(line).hexdigest()

    def _canonical(self, embedding: str | None) -> bytes:
        content = {
            "id": self.id,
            "embedding": embedding,
            "document": self.document,
            "metadata": self.metadata,
            "uri": self.uri,
        }
        try:
            return canonical_bytes(content)
        except (TypeError, ValueError) as error:
            raise IntegrityError(
                f"record {self.id!r}", f"its content has no JSON form: {error}"
            ) from error

    def vector(self) -> tuple[float, ...]:
        """Return the vector."""
        return struct.unpack(f"<{len(self.embedding) // 4}f", self.embedding)


def pack_vector(values: Iterable[float]) -> bytes:
    """Return a vector as float32, little endian."""
    numbers = tuple(values)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def collection_facts(
    header: CollectionHeader, count: int, samples: Iterable[Record]
) -> CollectionFacts:
    """Return the facts of a collection from its header, count and sample records.

    Sample digests leave the vector out where the store does not give it back exactly.
    """
    exact = header.gives_vectors_back_exactly
    ordered = sorted(samples, key=lambda record: record.id)
    return CollectionFacts(
        name=header.qualified_name,
        count=count,
        dimension=header.dimension if count else None,  # an emptied collection forgets it on load
        sample_digests={record.id: record.digest(with_vector=exact) for record in ordered},
        sample_vectors={record.id: record.vector() for record in ordered},
        settings={
            "configuration": canonical_bytes(header.configuration).decode(),
            "metadata": canonical_bytes(header.metadata).decode(),
        },
    )
