"""The argv of every restic call llmvault makes. Pure.

Rules: ``--json`` always; host, tags, parent explicit; no secret in argv (the repository address
and password travel in the environment). Flags used exist since restic 0.17.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOCK_WAIT = "2m"


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """How restic reads one source.

    Attributes:
        host: explicit host name of the snapshot.
        tags: ``key=value`` tags, each given on its own.
        parent: snapshot id to compare with; empty reads everything.
        ignore_inode: judge "unchanged" by size and modification time alone.
        compression: ``auto``, ``off`` or ``max``.
        pack_size_mib: target pack size.
        read_concurrency: files read at the same time.
    """

    host: str
    tags: tuple[str, ...]
    parent: str = ""
    ignore_inode: bool = False
    compression: str = "auto"
    pack_size_mib: int = 64
    read_concurrency: int = 2


def environment(
    *, url: str, password: str, cache: str, backend: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables a restic call needs; they hold secrets and go to no log.

    The empty ones keep restic from preferring what the operator's shell may have exported.
    """
    return {
        **backend,
        "RESTIC_REPOSITORY": url,
        "RESTIC_REPOSITORY_FILE": "",
        "RESTIC_PASSWORD": password,
        "RESTIC_PASSWORD_FILE": "",
        "RESTIC_PASSWORD_COMMAND": "",
        "RESTIC_KEY_HINT": "",
        "RESTIC_CACHE_DIR": cache,
        "RESTIC_PROGRESS_FPS": "10",
    }


# restic collects garbage whenever half as much as is in use was added (GOGC=50). Collecting more
# seldom costs it up to 100 MiB and saves a twentieth of the CPU time of a first backup.
DEFAULTS = {"GOGC": "200"}

# Nobody reads restic's progress while a stream is written to it. At ten lines a second the pipe
# would be full after a minute, and restic would wait for a reader for ever.
SILENT = {"RESTIC_PROGRESS_FPS": "0.0001"}


def version() -> tuple[str, ...]:
    """Print the version."""
    return ("version", "--json")


def init() -> tuple[str, ...]:
    """Create the repository; format 2, so that compression exists."""
    return ("init", "--json", "--repository-version", "2")


def unlock() -> tuple[str, ...]:
    """Remove stale locks: of dead processes of this host, and those not renewed for 30 minutes."""
    return ("unlock",)


def connections(url: str, count: int | None) -> tuple[str, ...]:
    """Return the option that sets how many connections a backend opens; empty for the default."""
    if count is None:
        return ()
    scheme, colon, _ = url.partition(":")
    backend = scheme if colon and "/" not in scheme else "local"
    return ("-o", f"{backend}.connections={count}")


def cat_config() -> tuple[str, ...]:
    """Print the repository's configuration: the documented probe for "it is there and opens"."""
    return ("cat", "config", "--json", "--no-lock")


def master_key() -> tuple[str, ...]:
    """Print the master key: a secret, for the reader of the pipe alone."""
    return ("cat", "masterkey", "--no-lock")


def snapshots(tags: tuple[str, ...] = ()) -> tuple[str, ...]:
    """List snapshots that carry all of the tags."""
    wanted = ("--tag", ",".join(tags)) if tags else ()
    return ("snapshots", "--json", "--no-lock", *wanted)


def init_like() -> tuple[str, ...]:
    """Create a repository that cuts files in the same places as the one that is copied from."""
    return ("init", "--json", "--repository-version", "2", "--copy-chunker-params")


def copy() -> tuple[str, ...]:
    """Copy every snapshot that is not there yet from the other repository."""
    return ("copy", "--retry-lock", LOCK_WAIT)


def source_environment(*, url: str, password: str) -> dict[str, str]:
    """Return the variables that name the repository that is copied from."""
    return {
        "RESTIC_FROM_REPOSITORY": url,
        "RESTIC_FROM_REPOSITORY_FILE": "",
        "RESTIC_FROM_PASSWORD": password,
        "RESTIC_FROM_PASSWORD_FILE": "",
        "RESTIC_FROM_PASSWORD_COMMAND": "",
        "RESTIC_FROM_KEY_HINT": "",
    }


def check(part: int, parts: int) -> tuple[str, ...]:
    """Check structure and index, and read one part of the packs; takes no lock."""
    return ("check", "--json", "--no-lock", "--read-data-subset", f"{part}/{parts}")


def storage_class(url: str, name: str | None) -> tuple[str, ...]:
    """Return the option that sets the storage class of new packs; empty for the default."""
    return ("-o", f"s3.storage-class={name}") if name and url.startswith("s3:") else ()


def list_ids(kind: str) -> tuple[str, ...]:
    """List the ids of a kind of file: ``index``, ``locks``; plain text, one a line."""
    return ("list", kind, "--no-lock")


def cat(kind: str, identity: str) -> tuple[str, ...]:
    """Print one ``index`` or ``lock`` as JSON."""
    return ("cat", kind, identity, "--no-lock")


def _common(options: BackupOptions) -> tuple[str, ...]:
    tags = tuple(part for tag in options.tags for part in ("--tag", tag))
    return (
        "backup", "--json", "--retry-lock", LOCK_WAIT, "--host", options.host, *tags,
        "--group-by", "host,tags",
        "--compression", options.compression,
        "--pack-size", str(options.pack_size_mib),
    )  # fmt: skip


def backup_tree(
    options: BackupOptions, *, files_from: str = "", exclude_file: str = ""
) -> tuple[str, ...]:
    """Read the working directory, or the NUL-separated relative paths listed in `files_from`."""
    parent = ("--parent", options.parent) if options.parent else ("--force",)
    ignore = ("--ignore-inode",) if options.ignore_inode else ()
    exclude = ("--exclude-file", exclude_file) if exclude_file else ()
    what = ("--files-from-raw", files_from) if files_from else (".",)
    return (
        *_common(options), *parent, *ignore, *exclude,
        "--no-scan", "--read-concurrency", str(options.read_concurrency), *what,
    )  # fmt: skip


def backup_stream(options: BackupOptions, filename: str) -> tuple[str, ...]:
    """Read standard input as one file."""
    return (*_common(options), "--stdin", "--stdin-filename", filename)


def restore(snapshot: str, target: str) -> tuple[str, ...]:
    """Restore a snapshot into a directory, naming each file as it becomes complete."""
    return (
        "restore", snapshot, "--json", "--verbose=2", "--retry-lock", LOCK_WAIT, "--target", target,
        "--sparse",
    )  # fmt: skip


def dump(snapshot: str, path: str, tags: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Print one file of a snapshot; `tags` say among which ones ``latest`` is meant."""
    wanted = ("--tag", ",".join(tags)) if tags else ()
    return ("dump", "--no-lock", *wanted, snapshot, path)


def forget(snapshots: Sequence[str], lock_wait: str) -> tuple[str, ...]:
    """Remove the named snapshots, and no other; never by a policy of restic's."""
    return ("forget", "--json", "--retry-lock", lock_wait, *snapshots)


def prune(lock_wait: str) -> tuple[str, ...]:
    """Remove the data that no snapshot refers to."""
    return ("prune", "--retry-lock", lock_wait)
