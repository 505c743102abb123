"""A Chroma store that is open: its collections, read and written through the engine.

No embedding function is ever built: vectors come and go as they are.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.sources.chroma.records import (
    CollectionHeader,
    Database,
    Record,
    collection_facts,
    pack_vector,
)
from llmvault.sources.interface import CollectionFacts

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api.client import Client

_IDS_A_PAGE = 20_000
_RECORDS_A_PAGE = 1_000
_FLOATS_A_PAGE = 500_000  # as Python objects about 16 MB, however wide the vectors are


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """One collection of an open store.

    Attributes:
        handle: chromadb's collection object.
    """

    header: CollectionHeader
    handle: Collection

    def count(self) -> int:
        """Return how many records the store says there are."""
        return int(self.handle.count())

    def ids(self) -> Iterator[str]:
        """Yield every id, in the store's order of insertion."""
        offset = 0
        while page := self.handle.get(limit=_IDS_A_PAGE, offset=offset, include=[])["ids"]:
            yield from page
            offset += len(page)

    def records(self) -> Iterator[Record]:
        """Yield every record, in the store's order of insertion, a page in memory at a time."""
        limit = _page_size(self.header.dimension)
        offset = 0
        while page := self._get(limit=limit, offset=offset):
            yield from page
            offset += len(page)

    def records_with(self, ids: Sequence[str]) -> tuple[Record, ...]:
        """Return the records with these ids, in that order.

        Raises:
            IntegrityError: when one is not there.
        """
        found = {record.id: record for record in (self._get(ids=list(ids)) if ids else ())}
        if absent := [key for key in ids if key not in found]:
            raise IntegrityError(
                f"collection {self.header.qualified_name}",
                f"it lists record {absent[0]!r} and does not return it",
            )
        return tuple(found[key] for key in ids)

    def found(self, ids: Sequence[str]) -> tuple[Record, ...]:
        """Return the records with these ids that are there."""
        return self._get(ids=list(ids)) if ids else ()

    def _get(
        self, *, ids: list[str] | None = None, limit: int | None = None, offset: int | None = None
    ) -> tuple[Record, ...]:
        answer = self.handle.get(ids=ids, limit=limit, offset=offset, include=list(_COLUMNS))
        columns = cast("Mapping[str, Sequence[Any]]", answer)
        rows = zip(*(columns[name] for name in ("ids", *_COLUMNS)), strict=True)
        return tuple(_record(row) for row in rows)

    def forget(self, ids: Sequence[str]) -> None:
        """Delete records."""
        for start in range(0, len(ids), _RECORDS_A_PAGE):
            self.handle.delete(ids=list(ids[start : start + _RECORDS_A_PAGE]))

    def add(self, records: Sequence[Record]) -> None:
        """Add records that are not there yet."""
        from chromadb.api.types import deserialize_metadata

        uris = [record.uri for record in records]
        metadatas = [
            deserialize_metadata(dict(each.metadata)) if each.metadata else None for each in records
        ]
        self.handle.add(
            ids=[record.id for record in records],
            embeddings=cast("Any", [list(record.vector()) for record in records]),
            metadatas=cast("Any", metadatas),
            documents=cast("Any", [record.document for record in records]),
            uris=cast("Any", uris if any(uri is not None for uri in uris) else None),
        )


_COLUMNS: tuple[Literal["embeddings", "documents", "metadatas", "uris"], ...] = (
    "embeddings",
    "documents",
    "metadatas",
    "uris",
)


def _page_size(dimension: int | None) -> int:
    return max(1, min(_RECORDS_A_PAGE, _FLOATS_A_PAGE // (dimension or 1)))


def _record(row: tuple[Any, ...]) -> Record:
    from chromadb.api.types import serialize_metadata

    key, embedding, document, metadata, uri = row
    values = embedding.tolist() if hasattr(embedding, "tolist") else embedding
    return Record(key, pack_vector(values), document, serialize_metadata(metadata), uri)


class OpenChroma:
    """A store that answers (:class:`llmvault.sources.interface.OpenStore`).

    Args:
        clients: one chromadb client per database.
        sample: how many records per collection are described in full.
        opener: makes and opens a database that is not among the clients.
    """

    def __init__(
        self,
        clients: dict[Database, Client],
        sample: int,
        opener: Callable[[Database], Client] | None = None,
    ) -> None:
        self._clients = clients
        self._sample = sample
        self._opener = opener
        self._handles: dict[str, Collection] = {}

    def collections(self) -> tuple[OpenCollection, ...]:
        """Return every collection, sorted by qualified name."""
        found = (
            OpenCollection(_header(database, handle), handle)
            for database, client in self._clients.items()
            for handle in client.list_collections()
        )
        return tuple(sorted(found, key=lambda each: each.header.qualified_name))

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, settings and samples; reads every id.

        Raises:
            IntegrityError: when the engine finds the store broken, or a collection's count is not
                the number of ids it lists.
        """
        with engine_errors("the Chroma store"):
            return tuple(self._describe(each) for each in self.collections())

    def _describe(self, collection: OpenCollection) -> CollectionFacts:
        listed = _Counted(collection.ids())
        lowest = heapq.nsmallest(self._sample, listed)
        count = collection.count()
        if count != listed.count:
            raise IntegrityError(
                f"collection {collection.header.qualified_name}",
                f"it says it has {count} records and lists {listed.count}",
            )
        return collection_facts(collection.header, count, collection.records_with(lowest))

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first, equal distances by id.

        Raises:
            UnavailableError: when there is no such collection.
        """
        with engine_errors(f"collection {collection}"):
            answer = self._handle(collection).query(
                query_embeddings=cast("Any", [list(vector)]), n_results=k, include=["distances"]
            )
        distances = answer["distances"] or [[]]
        nearest = sorted(zip(distances[0], answer["ids"][0], strict=True))
        return tuple(key for _, key in nearest)

    def _handle(self, name: str) -> Collection:
        if name not in self._handles:
            found = self.collections()
            self._handles = {each.header.qualified_name: each.handle for each in found}
        if name not in self._handles:
            raise UnavailableError(f"collection {name}", "the store has no such collection")
        return self._handles[name]

    def create(self, header: CollectionHeader) -> OpenCollection:
        """Create a collection (and its database) as its header says.

        Raises:
            KeyError: when the store was not opened with that database.
        """
        configuration = {
            key: dict(header.configuration[key])
            for key in ("hnsw", "spann")
            if header.configuration.get(key)
        }
        if header.database not in self._clients and self._opener is not None:
            self._clients[header.database] = self._opener(header.database)
        with _recorded_embedding(header.configuration.get("embedding_function")) as embedding:
            if embedding is not None:
                configuration["embedding_function"] = embedding
            handle = self._clients[header.database].create_collection(
                header.name,
                configuration=cast("Any", configuration),
                metadata=dict(header.metadata) if header.metadata else None,
                embedding_function=None,
            )
        return OpenCollection(header, handle)

    def load(self, header: CollectionHeader, records: Iterable[Record]) -> None:
        """Create a collection and add its records, in their order, in bounded memory."""
        self.fill(self.create(header), records)

    def fill(self, collection: OpenCollection, records: Iterable[Record]) -> None:
        """Add records to a collection of this store, in their order, in bounded memory."""
        remaining = iter(records)
        client = self._clients[collection.header.database]
        size = min(_page_size(collection.header.dimension), int(client.get_max_batch_size()))
        while batch := tuple(islice(remaining, size)):
            collection.add(batch)

    def delete(self, header: CollectionHeader) -> None:
        """Delete a collection."""
        self._clients[header.database].delete_collection(header.name)


class _Counted:
    """Passes items on and counts them."""

    def __init__(self, items: Iterable[str]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for item in self._items:
            self.count += 1
            yield item


def _header(database: Database, handle: Collection) -> CollectionHeader:
    model = handle._model
    return CollectionHeader(
        database=database,
        name=model.name,
        dimension=model.dimension,
        configuration=model.configuration_json,
        metadata=dict(model.metadata) if model.metadata else None,
        schema=model.serialized_schema,
    )


@contextmanager
def _recorded_embedding(stated: Mapping[str, Any] | None) -> Iterator[Any]:
    """Yield a stand-in that makes Chroma record an embedding function without building it.

    Building the real one may need packages, keys or downloads that a restore must not depend on.
    """
    from chromadb.utils.embedding_functions import known_embedding_functions

    if not stated or stated.get("type") != "known":
        yield None
        return
    name, config = stated["name"], stated["config"]
    methods = {
        "name": staticmethod(lambda: name),
        "get_config": lambda _: config,
        "is_legacy": lambda _: False,
        "default_space": lambda _: "l2",
        "supported_spaces": lambda _: ["l2", "cosine", "ip"],
    }
    registered = known_embedding_functions.get(name)
    try:
        yield type("RecordedEmbedding", (), methods)()
    finally:
        if registered is not None:  # creating a collection registers the stand-in's class
            known_embedding_functions[name] = registered
        else:
            known_embedding_functions.pop(name, None)


@contextmanager
def engine_errors(thing: str) -> Iterator[None]:
    """Turn what chromadb raises into our errors."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except VaultError:
        raise
    except httpx.HTTPError as error:
        raise UnavailableError(thing, f"the connection failed: {error}") from error
    except ChromaError as error:
        raise IntegrityError(thing, f"Chroma says: {error}") from error
    except (TypeError, UnicodeError) as error:  # not repeated: it shows the value
        raise IntegrityError(
            thing, "a value is of a kind, or text of an encoding, that Chroma cannot hold"
        ) from error
    except ValueError as error:  # also how chromadb tells that nobody answers
        raise UnavailableError(thing, f"Chroma says: {error}") from error
