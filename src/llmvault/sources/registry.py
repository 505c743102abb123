"""Every kind of source, and the driver behind it; a driver is imported when it is first built."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from llmvault.core.errors import PolicyError
from llmvault.sources.interface import (
    Erases,
    ExportsRecords,
    ImportsRecords,
    Loads,
    Opens,
    ProbesResidue,
    Source,
    SourcePorts,
)

if TYPE_CHECKING:
    from llmvault.policy.sources import Source as SourceConfig

DRIVERS: Mapping[str, tuple[str, str]] = {
    "hf_cache": ("llmvault.sources.hf_cache", "HuggingFaceCache"),
    "model_dir": ("llmvault.sources.model_dir", "ModelDirectory"),
    "ollama": ("llmvault.sources.ollama", "OllamaModels"),
    "configs": ("llmvault.sources.configs", "Configurations"),
    "env_secrets": ("llmvault.sources.env_secrets", "EnvSecrets"),
    "chroma": ("llmvault.sources.chroma", "ChromaStore"),
    "qdrant": ("llmvault.sources.qdrant", "QdrantStore"),
    "redis": ("llmvault.sources.redis", "RedisStore"),
    "milvus": ("llmvault.sources.milvus", "MilvusStore"),
    "postgres": ("llmvault.sources.postgres", "PostgresDatabase"),
    "postgres_cluster": ("llmvault.sources.postgres.physical", "PostgresCluster"),
    "sqlite": ("llmvault.sources.sqlite", "SqliteDatabase"),
    "lancedb": ("llmvault.sources.lancedb", "LanceDatabase"),
    "faiss": ("llmvault.sources.faiss", "FaissIndexes"),
    "elasticsearch": ("llmvault.sources.elasticsearch", "ElasticsearchIndexes"),
    "opensearch": ("llmvault.sources.elasticsearch", "OpenSearchIndexes"),
    "weaviate": ("llmvault.sources.weaviate", "WeaviateCollections"),
    "zfs_stream": ("llmvault.sources.zfs_stream", "ZfsStream"),
}

IMPORTERS: Mapping[str, tuple[str, str]] = {
    "sqlite": ("llmvault.sources.sqlite.importing", "SqliteImporter"),
    "lancedb": ("llmvault.sources.lancedb.importing", "LanceImporter"),
    "chroma": ("llmvault.sources.chroma.importing", "ChromaImporter"),
    "qdrant": ("llmvault.sources.qdrant.importing", "QdrantImporter"),
    "milvus": ("llmvault.sources.milvus.importing", "MilvusImporter"),
    "postgres": ("llmvault.sources.postgres.importing", "PostgresImporter"),
    "faiss": ("llmvault.sources.faiss.importing", "FaissImporter"),
}
"""Every kind of store that can be made of records, and what makes it: ``Importer(ports)``."""


class _Driver(Protocol):
    def __call__(self, name: str, config: SourceConfig, ports: SourcePorts) -> Source: ...


CAPABILITIES: Mapping[str, type] = {
    "opens": Opens,
    "loads": Loads,
    "exports records": ExportsRecords,
    "imports records": ImportsRecords,
    "erases": Erases,
    "probes residue": ProbesResidue,
}
"""What a driver of a store may be able to do, in the words of plans and README."""


def capabilities(kind: str) -> tuple[str, ...]:
    """Return which of the capabilities drivers of a kind have."""
    module, driver = DRIVERS[kind]
    made = getattr(import_module(module), driver)
    return tuple(word for word, protocol in CAPABILITIES.items() if issubclass(made, protocol))


def build_source(name: str, config: SourceConfig, ports: SourcePorts) -> Source:
    """Return the driver of a source that a policy declares.

    Raises:
        PolicyError: when no driver has that kind.
    """
    if config.kind not in DRIVERS:
        raise PolicyError(
            f'source "{name}"',
            f"there is no kind of source {config.kind!r}",
            f"use one of {', '.join(DRIVERS)}",
        )
    module, driver = DRIVERS[config.kind]
    made = getattr(import_module(module), driver)
    if hasattr(config, "capture") and hasattr(made, "reading_records"):
        from llmvault.sources.records.capture import RecordsCapture

        made = type(f"{driver}Records", (RecordsCapture, made), {"__doc__": made.__doc__})
    return cast(_Driver, made)(name, config, ports)


def build_importer(kind: str, ports: SourcePorts) -> ImportsRecords:
    """Return what makes stores of a kind out of points, without a source of the policy.

    Raises:
        PolicyError: when there is no such kind, or it cannot be made of points.
    """
    if kind not in IMPORTERS:
        raise PolicyError(
            f"kind of store {kind!r}",
            "no store of that kind can be made of records",
            f"use one of {', '.join(IMPORTERS)}",
        )
    module, importer = IMPORTERS[kind]
    return cast(ImportsRecords, getattr(import_module(module), importer)(ports))
