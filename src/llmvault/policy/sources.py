"""What a policy says of the things that are protected, one model per kind of source."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from llmvault.policy.fields import CommitSha, Duration, LocalPath, Model, SecretReference

Snapshot = Literal["auto", "none", "zfs", "btrfs", "lvm"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceBase(Model):
    """What every source has."""

    exclude: tuple[str, ...] = Field(
        (), description="names or relative paths to leave out (fnmatch)"
    )
    exclude_caches: bool = Field(
        False, description="leave out directories with a CACHEDIR.TAG; dangerous on model caches"
    )
    compression: Literal["auto", "off", "max"] | None = Field(
        None, description="restic compression; by default chosen from the kind of content"
    )


class StoreBase(SourceBase):
    """What every store has whose points can be read one by one."""

    capture: Literal["native", "records"] | None = Field(
        None,
        description="native: by the store's own means; records: every point in documented files, "
        "which any kind of store can be made of; by default native where the store has means",
    )
    subject_field: str = Field(
        "", description="key of the payload that names the person a point is about"
    )
    keep_segments: bool = Field(
        True,
        description="keep the files of a records capture on this host, so that the next run writes "
        "only what changed; takes the space of the capture",
    )
    sample: int = Field(
        16,
        ge=1,
        le=1000,
        description="records per collection whose content is kept in the manifest",
    )


class PlacedSource(SourceBase):
    """What every source has that is files, read where they lie."""

    snapshot: Snapshot | None = Field(
        None,
        description="read from a filesystem snapshot: auto (where there can be one), zfs, btrfs, "
        "lvm, or none; by default as the plan says",
    )


class PinnedModel(Model):
    """A model in a Hugging Face cache."""

    repo: str = Field(description="organisation/name")
    revision: CommitSha = Field(
        description="40 hex digits of the commit; a branch or tag is warned of"
    )

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never moves, rather than a branch or tag."""
        return _COMMIT.fullmatch(self.revision) is not None


class HfCacheSource(PlacedSource):
    """A Hugging Face cache (``HF_HUB_CACHE``): blobs, refs, snapshots."""

    kind: Literal["hf_cache"] = Field(description="a Hugging Face cache")
    path: LocalPath = Field(description="the cache's directory, the one with models--* in it")
    models: tuple[PinnedModel, ...] = Field(
        (), description="models that must be there; all if empty"
    )


class ModelDirSource(PlacedSource):
    """A directory with model files: safetensors, GGUF, adapters, tokenizer, config."""

    kind: Literal["model_dir"] = Field(description="a directory of model files")
    path: LocalPath = Field(description="the directory")
    base_model: str | None = Field(None, description="source or repo an adapter in here is for")


class PinnedOllamaModel(Model):
    """A model of Ollama."""

    name: str = Field(description="as for `ollama run`: llama3.2:1b, namespace/name:tag")
    digest: str | None = Field(
        None,
        pattern="^[0-9a-f]{12,64}$",
        description="SHA-256 of the manifest, or its first digits: the ID that `ollama list` shows",
    )


class OllamaSource(PlacedSource):
    """The models of an Ollama installation: manifests, and the blobs that they share."""

    kind: Literal["ollama"] = Field(description="the models of Ollama")
    path: LocalPath = Field(
        description="the directory that OLLAMA_MODELS names, by default ~/.ollama/models"
    )
    models: tuple[PinnedOllamaModel, ...] = Field(
        (), description="models to take, with their blobs and no others; all if empty"
    )


class ConfigsSource(PlacedSource):
    """Configuration files and prompt templates, by paths and globs."""

    kind: Literal["configs"] = Field(description="configuration files")
    path: LocalPath = Field(description="root directory; include patterns are relative to it")
    include: tuple[str, ...] = Field(("**",), description="globs below the root")


class EnvSecretsSource(SourceBase):
    """Files with secrets: names and keyed digests are recorded, values never leave."""

    kind: Literal["env_secrets"] = Field(description="files with secrets, recorded without values")
    path: LocalPath = Field(description="root directory; include patterns are relative to it")
    include: tuple[str, ...] = Field(("**",), description="globs below the root")
    env: tuple[str, ...] = Field(
        ("*.env", ".env", ".env.*"),
        description="names (fnmatch) of files with NAME=value lines, one secret each; every other "
        "file is one secret",
    )
    key: SecretReference = Field(
        description="key of the digests, 16 bytes or more, so that nobody else can try guesses; "
        "keep it with your secrets"
    )
    required: tuple[str, ...] = Field(
        (), description="secrets that must be there and not empty: FILE:NAME, NAME or FILE"
    )


class ChromaSource(StoreBase):
    """A Chroma store: a PersistentClient directory, or a running server."""

    kind: Literal["chroma"] = Field(description="a Chroma store")
    path: LocalPath | None = Field(None, description="persist directory")
    url: str | None = Field(None, description="http://host:port of a running server")
    token: SecretReference | None = Field(None, description="API token of the server")
    collections: tuple[str, ...] = Field(
        (), description="collections that must be there; all if empty"
    )


class QdrantSource(StoreBase):
    """Qdrant: a running server or cluster, or a directory of Qdrant Edge shards."""

    kind: Literal["qdrant"] = Field(description="a Qdrant server, or Qdrant Edge shards")
    path: LocalPath | None = Field(
        None, description="a Qdrant Edge shard, or a directory with one for each collection"
    )
    url: str | None = Field(None, description="http://host:port of a running server")
    nodes: tuple[str, ...] = Field(
        (), description="URLs of the cluster's other nodes; each is snapshotted"
    )
    token: SecretReference | None = Field(None, description="API key of the server")
    collections: tuple[str, ...] = Field(
        (), description="collections that must be there; all if empty"
    )


class RedisSource(SourceBase):
    """A Redis server: the RDB file of a background save."""

    kind: Literal["redis"] = Field(description="a Redis server")
    url: str = Field(
        description="redis://host:port, rediss://host:port or unix:///socket, without a password"
    )
    user: str = Field("", description="name of an ACL user; the default user if empty")
    password: SecretReference | None = Field(
        None, description="by reference: env:, file:, cmd: or credential:"
    )
    rdb: LocalPath | None = Field(
        None, description="where the RDB file lies on this host; as the server says if not set"
    )
    binaries: LocalPath | None = Field(
        None, description="directory of redis-server and redis-cli; PATH if not set"
    )
    keys: tuple[str, ...] = Field((), description="keys of database 0 that must be there")
    sample: int = Field(16, ge=1, le=1000, description="keys per type whose digest is kept")


class MilvusSource(StoreBase):
    """Milvus: a database directory of milvus-lite, or a running server."""

    kind: Literal["milvus"] = Field(description="a milvus-lite database, or a Milvus server")
    path: LocalPath | None = Field(
        None, description="the directory, as given to MilvusClient; its name ends in .db"
    )
    url: str | None = Field(None, description="http://host:port of a running server")
    token: SecretReference | None = Field(
        None, description="user:password or API key of the server"
    )
    database: str = Field("", description="database of the server; its default one if empty")
    collections: tuple[str, ...] = Field(
        (), description="collections that must be there; all if empty"
    )


class PostgresSource(StoreBase):
    """A PostgreSQL database, with or without pgvector."""

    kind: Literal["postgres"] = Field(description="a PostgreSQL database")
    url: str = Field(description="postgresql://user@host/database, without a password")
    password: SecretReference | None = Field(
        None, description="by reference: env:, file:, cmd: or credential:"
    )
    binaries: LocalPath | None = Field(
        None, description="directory of pg_dump, initdb …; PATH if not set"
    )
    vector_tables: tuple[str, ...] = Field(
        (), description="table.column of vectors to search in drills; found by type if empty"
    )


class PostgresClusterSource(SourceBase):
    """A whole PostgreSQL cluster: a base backup, and WAL for a point in time."""

    kind: Literal["postgres_cluster"] = Field(description="a whole PostgreSQL cluster")
    url: str = Field(
        description="postgresql://user@host/database, without a password; the role needs "
        "REPLICATION, and the database is the one that drills look at"
    )
    password: SecretReference | None = Field(
        None, description="by reference: env:, file:, cmd: or credential:"
    )
    binaries: LocalPath | None = Field(
        None, description="directory of pg_basebackup, postgres …; PATH if not set"
    )
    wal_archive: LocalPath | None = Field(
        None, description="directory into which archive_command copies WAL; captured too"
    )
    archive_timeout: Duration = Field(
        timedelta(minutes=2), description="time within which the last WAL must be archived"
    )
    sample: int = Field(16, ge=1, le=1000, description="rows per table whose digest is kept")


class SqliteSource(StoreBase):
    """A SQLite database file, with or without vectors of sqlite-vec."""

    kind: Literal["sqlite"] = Field(description="a SQLite database file")
    path: LocalPath = Field(description="the file")
    tables: tuple[str, ...] = Field((), description="tables that must be there")


class LancedbSource(StoreBase):
    """A LanceDB database directory."""

    kind: Literal["lancedb"] = Field(description="a LanceDB database")
    path: LocalPath = Field(description="the directory, the one with *.lance in it")
    tables: tuple[str, ...] = Field((), description="tables that must be there")
    key: str = Field("id", description="the column that names a row; its position where absent")


class FaissSource(StoreBase):
    """A directory with FAISS indexes and what belongs to them: id maps, docstores."""

    kind: Literal["faiss"] = Field(description="FAISS indexes with their id maps and docstores")
    path: LocalPath = Field(description="the directory; everything in it is captured as one")
    indexes: tuple[str, ...] = Field(
        (), description="index files relative to it; all *.faiss and *.index if empty"
    )
    id_maps: dict[str, str] = Field(
        {}, description="index file -> JSON file with one id per vector (a list, or position: id)"
    )
    docstores: dict[str, str] = Field(
        {},
        description="index file -> what is kept for each id: a JSON file (id: text or object), or "
        "a SQLite file whose only table has the id as its key (FILE#TABLE where it has several)",
    )


class SearchServer(Model):
    """How a server of Elasticsearch or OpenSearch is reached, and where its snapshots lie."""

    url: str = Field(description="http://host:port or https://…, without credentials")
    username: str | None = Field(None, description="user of HTTP Basic, with password")
    password: SecretReference | None = Field(
        None, description="by reference: env:, file:, cmd: or credential:"
    )
    api_key: SecretReference | None = Field(None, description="API key, base64 of id:key")
    certificates: LocalPath | None = Field(
        None, description="file with the certificates that sign the server's; the system's if not"
    )
    path: LocalPath = Field(
        description="directory for snapshots as this host sees it; in one of the server's path.repo"
    )
    server_path: str | None = Field(
        None, description="the same directory as the servers see it; path if not set"
    )


class SearchServerSource(SourceBase, SearchServer):
    """Indexes of Elasticsearch or OpenSearch, by their snapshot API."""

    repository: str = Field(
        "llmvault",
        pattern="^[a-z0-9][a-z0-9_-]*$",
        description="snapshot repository of files in path, for llmvault alone; made if absent",
    )
    indices: tuple[str, ...] = Field(
        ("*",), description="names or patterns; hidden and system indices are left out"
    )
    timeout: Duration = Field(
        timedelta(hours=1), description="time within which a snapshot or restore must end"
    )
    sample: int = Field(16, ge=1, le=1000, description="documents per index kept in the manifest")
    scratch: SearchServer | None = Field(
        None, description="another server, in which drills bring the snapshot up, and remove it"
    )


class ElasticsearchSource(SearchServerSource):
    """Indexes of Elasticsearch."""

    kind: Literal["elasticsearch"] = Field(description="indexes of Elasticsearch")


class OpenSearchSource(SearchServerSource):
    """Indexes of OpenSearch."""

    kind: Literal["opensearch"] = Field(description="indexes of OpenSearch")


class WeaviateServer(Model):
    """How a Weaviate is reached, and where its backups lie."""

    url: str = Field(description="http://host:port or https://…, without credentials")
    token: SecretReference | None = Field(None, description="API key")
    path: LocalPath = Field(
        description="what the server knows as BACKUP_FILESYSTEM_PATH, as this host sees it"
    )


class WeaviateSource(SourceBase, WeaviateServer):
    """Collections of Weaviate, by its module backup-filesystem."""

    kind: Literal["weaviate"] = Field(description="collections of Weaviate")
    certificates: LocalPath | None = Field(
        None, description="file with the certificates that sign the server's; the system's if not"
    )
    collections: tuple[str, ...] = Field(
        (), description="collections to take, which must be there; all if empty"
    )
    timeout: Duration = Field(
        timedelta(hours=1), description="time within which a backup or restore must end"
    )
    sample: int = Field(
        16, ge=1, le=1000, description="objects per collection kept in the manifest"
    )
    scratch: WeaviateServer | None = Field(
        None, description="another server, in which drills bring the backup up, and remove it"
    )


class ZfsStreamSource(SourceBase):
    """A ZFS dataset as `zfs send` writes it: raw, so an encrypted one stays encrypted."""

    kind: Literal["zfs_stream"] = Field(description="a ZFS dataset as a stream of zfs send")
    dataset: str = Field(
        pattern="^[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.: -]+)*$",
        description="pool/name of a filesystem or volume, as `zfs list` shows it",
    )
    recursive: bool = Field(
        False, description="with the datasets below it and the snapshots that they have"
    )
    raw: bool = Field(
        True,
        description="as it lies on disk: compressed and encrypted, readable with the dataset's own "
        "key only, which need not be loaded; false sends an encrypted dataset in the clear",
    )
    incremental: bool = Field(
        True,
        description="send what changed since the plan's previous recovery point, while its "
        "snapshot exists; what that needs is kept by retention",
    )
    full_every: int = Field(
        14, ge=1, le=1000, description="streams of a chain at most; then a full one begins the next"
    )


Source = Annotated[
    HfCacheSource
    | ModelDirSource
    | OllamaSource
    | ConfigsSource
    | EnvSecretsSource
    | ChromaSource
    | QdrantSource
    | RedisSource
    | MilvusSource
    | PostgresSource
    | PostgresClusterSource
    | SqliteSource
    | LancedbSource
    | FaissSource
    | ElasticsearchSource
    | OpenSearchSource
    | WeaviateSource
    | ZfsStreamSource,
    Field(discriminator="kind"),
]
