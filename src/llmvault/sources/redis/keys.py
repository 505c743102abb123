"""What a Redis server holds: keys by database and type, samples of them, vector sets.

Keys with a time to live lapse while they lie in a backup, so they are counted apart and never
compared.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmvault.core.errors import UnavailableError
from llmvault.sources.interface import CollectionFacts
from llmvault.sources.stores.samples import float32_bytes, floats, is_finite, record_digest

if TYPE_CHECKING:
    from redis import Redis

_SCAN = 1_000
_NO_EXPIRY = -1
_VECTORS = "vectorset"


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds.

    Attributes:
        expiring: database -> number of keys with a time to live.
    """

    collections: tuple[CollectionFacts, ...]
    expiring: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many keys there are without a time to live."""
        return sum(one.count for one in self.collections if ":" not in one.name)


@dataclass(slots=True)
class _Kind:
    """Keys of one type in one database, without a time to live."""

    count: int = 0
    lowest: list[bytes] = field(default_factory=list)


def held(client: Redis, sample: int) -> Held:
    """Return every key's database and type, counted, with the content of the lowest keys."""
    collections: list[CollectionFacts] = []
    expiring: dict[str, int] = {}
    for database in databases(client):
        client.select(database)
        kinds, lapsing = _kinds(client, sample)
        if lapsing:
            expiring[f"db{database}"] = lapsing
        for kind, found in sorted(kinds.items()):
            digests = {
                readable(key): record_digest(content(client, key, kind)) for key in found.lowest
            }
            name = f"db{database}.{kind}"
            facts = CollectionFacts(
                name, found.count, sample_digests=digests, settings={"type": kind}
            )
            collections.append(facts)
        collections.extend(
            _vector_set(client, f"db{database}:{readable(key)}", key, sample)
            for key in _vector_sets(client, kinds)
        )
    return Held(tuple(sorted(collections, key=lambda one: one.name)), expiring)


def databases(client: Redis) -> list[int]:
    """Return the numbers of the databases that hold keys."""
    stated = client.info("keyspace")
    return sorted(int(name.removeprefix("db")) for name in stated)


def _kinds(client: Redis, sample: int) -> tuple[dict[str, _Kind], int]:
    kinds: dict[str, _Kind] = {}
    lapsing = 0
    for batch in scanned(client):
        pipe = client.pipeline(transaction=False)
        for key in batch:
            pipe.type(key)
            pipe.pttl(key)
        answers = pipe.execute()
        for key, kind, left in zip(batch, answers[::2], answers[1::2], strict=True):
            if left != _NO_EXPIRY:
                lapsing += left >= 0
                continue
            found = kinds.setdefault(kind.decode(), _Kind())
            found.count += 1
            found.lowest.append(key)
        for found in kinds.values():
            found.lowest = heapq.nsmallest(sample, found.lowest)
    return kinds, lapsing


def scanned(client: Redis) -> Iterator[list[bytes]]:
    """Yield the keys of the selected database, some at a time, each once."""
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, count=_SCAN)
        batch = [key for key in dict.fromkeys(keys) if key not in seen]
        seen.update(batch)
        if batch:
            yield batch
        if cursor == 0:
            return


def content(client: Redis, key: bytes, kind: str) -> object:
    """Return the value of a key, in an order of its own where Redis keeps none."""
    read = _READERS.get(kind)
    # of a type that a module brings, the serialised form is all that can be had
    return read(client, key) if read is not None else client.dump(key)


def _fields(client: Redis, key: bytes) -> object:
    return sorted(map(list, client.hgetall(key).items()))


def _scores(client: Redis, key: bytes) -> object:
    return [list(pair) for pair in client.zrange(key, 0, -1, withscores=True)]


def _stream(client: Redis, key: bytes) -> object:
    entries = client.execute_command("XRANGE", key, "-", "+")
    groups = client.execute_command("XINFO", "GROUPS", key)
    return [_plain(entries), _plain(groups)]


def _plain(value: Any) -> Any:  # noqa: ANN401  what the server answers
    if isinstance(value, dict):
        return [[_plain(key), _plain(one)] for key, one in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


_READERS: Mapping[str, Callable[[Any, bytes], object]] = {
    "string": lambda client, key: client.get(key),
    "hash": _fields,
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: sorted(client.smembers(key)),
    "zset": _scores,
    "stream": _stream,
    _VECTORS: lambda client, key: _settings(client, key),
}


def _vector_sets(client: Redis, kinds: Mapping[str, _Kind]) -> Iterator[bytes]:
    if _VECTORS not in kinds:
        return
    found: list[bytes] = []
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, count=_SCAN, _type=_VECTORS)
        found.extend(keys)
        if cursor == 0:
            break
    yield from (key for key in sorted(set(found)) if client.pttl(key) == _NO_EXPIRY)


def _vector_set(client: Redis, name: str, key: bytes, sample: int) -> CollectionFacts:
    """Return a vector set: its elements nearest to a fixed vector are its samples."""
    dimension = int(client.execute_command("VDIM", key))
    first = (1.0, *([0.0] * (dimension - 1)))
    digests, vectors = {}, {}
    for element in nearest(client, key, first, sample):
        stored = _plain(client.execute_command("VEMB", key, element, "RAW"))
        attributes = client.execute_command("VGETATTR", key, element)
        digests[readable(element)] = record_digest([stored, attributes])
        vector = float32_bytes(map(float, client.execute_command("VEMB", key, element)))
        if is_finite(vector):
            vectors[readable(element)] = floats(vector)
    count = int(client.execute_command("VCARD", key))
    settings = _settings(client, key)
    return CollectionFacts(name, count, dimension, digests, vectors, settings)


def _settings(client: Redis, key: bytes) -> dict[str, str]:
    """Return how a vector set is made: quantisation, dimension, links."""
    answer = client.execute_command("VINFO", key)
    stated = (
        answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    )
    words = {_word(name): _word(value) for name, value in stated.items()}
    wanted = ("quant-type", "hnsw-m", "vector-dim", "projection-input-dim")
    return {name: words[name] for name in wanted if name in words}


def _word(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def nearest(client: Redis, key: bytes, vector: Sequence[float], k: int) -> list[bytes]:
    """Return the k elements nearest to a vector, compared one by one, equal ones by name."""
    packed = float32_bytes(vector)
    answer = client.execute_command("VSIM", key, "FP32", packed, "WITHSCORES", "COUNT", k, "TRUTH")
    if isinstance(answer, dict):
        pairs = [(name, float(score)) for name, score in answer.items()]
    else:
        pairs = [
            (name, float(score)) for name, score in zip(answer[::2], answer[1::2], strict=True)
        ]
    return [name for name, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]


def search(client: Redis, collection: str, vector: Sequence[float], k: int) -> tuple[str, ...]:
    """Return the k nearest elements of a vector set that is named ``dbN:KEY``.

    Raises:
        UnavailableError: when there is no such vector set.
    """
    database, _, name = collection.partition(":")
    number = database.removeprefix("db")
    if name and number.isdigit() and int(number) in databases(client):
        client.select(int(number))
        for key in _vector_sets(client, {_VECTORS: _Kind()}):
            if readable(key) == name:
                return tuple(readable(one) for one in nearest(client, key, vector, k))
    raise UnavailableError(
        f"collection {collection}", "there is no such vector set", "name it as db0:KEY"
    )


def readable(name: bytes) -> str:
    """Return a key as text; bytes that are no UTF-8 as ``\\xNN``."""
    return name.decode("utf-8", "backslashreplace")
