"""The driver of Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.process import Command
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import RedisSource
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Finding,
    Observation,
    OpenStore,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.redis.client import (
    SAVE_SECONDS,
    SCHEMES,
    info,
    open_redis,
    redis_errors,
    save,
    setting,
)
from llmvault.sources.redis.keys import databases, held, scanned, search
from llmvault.sources.redis.scratch import private_server, program_version, server_program
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.files import clone_file, copying, place_tree, refuse_place

if TYPE_CHECKING:
    from redis import Redis

_FILE = "dump.rdb"
_SCHEMES = ("redis", "rediss", "unix")


class RedisStore:
    """A Redis server, captured as the RDB file of a background save.

    The file is copied where it lies on this host, and else fetched by ``redis-cli --rdb``. A
    private server opens the copy, and what it says is what is recorded. Keys with a time to live
    are counted apart and not compared: they lapse while they lie in a backup.
    """

    kind: ClassVar[str] = "redis"

    def __init__(self, name: str, config: RedisSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports
        self._url = plain_url(config.url, f'source "{name}"', SCHEMES)
        self._program = server_program(config.binaries)

    def location(self) -> str:
        """Return the server's address."""
        return self._url

    def observe(self) -> Observation:
        """Ask the server for its version and the number of keys."""
        with self._live() as client:
            stated = info(client, "keyspace")
            keyspace = {
                name: {"keys": one["keys"], "expires": one["expires"]}
                for name, one in stated.items()
            }
            versions = {"redis": str(info(client, "server").get("redis_version", ""))}
            return Observation(
                findings=(*self._missing(client), *_nothing(bool(keyspace))),
                versions=versions,
                details={"keyspace": keyspace},
            )

    def _missing(self, client: Redis) -> Iterator[Finding]:
        client.select(0)
        for key in self._config.keys:
            if not client.exists(key):
                detail = "the policy names it and it is not in database 0"
                yield Finding("key-missing", key, detail, "failed")

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the RDB file, described by a private server that has loaded it."""
        root = staging / "redis"
        root.mkdir(mode=0o700)
        copy = root / _FILE
        seen = self.observe()
        with copying(self._thing()):
            self._fetch(copy)
            copy.chmod(0o600)
        yield TreeCapture(root, observation=self._describe(copy, seen))

    def _fetch(self, copy: Path) -> None:
        with self._live() as client:
            file = self._file(client)
            before = _state(file)
            save(client, self._thing(), self._ports.clock)
            # a file of that name that the save did not replace is another server's
            if file is not None and _state(file) not in (None, before):
                clone_file(file, copy)
                return
        self._fetch_as_replica(copy)

    def _file(self, client: Redis) -> Path | None:
        if self._config.rdb is not None:
            return self._config.rdb
        directory, name = setting(client, "dir"), setting(client, "dbfilename")
        return Path(directory) / name if directory and name else None

    def _fetch_as_replica(self, copy: Path) -> None:
        """Have redis-cli ask for the file as a replica would.

        Raises:
            UnavailableError: when it does not come whole.
        """
        binaries = self._config.binaries
        program = str(binaries / "redis-cli") if binaries is not None else "redis-cli"
        parts = urlsplit(self._url)
        where = ("-s", parts.path) if parts.scheme == "unix" else ("-u", self._url)
        user = ("--user", self._config.user) if self._config.user else ()
        password = self._password()
        secrets = {"REDISCLI_AUTH": password.reveal()} if password is not None else {}
        command = Command((program, *where, *user, "--rdb", str(copy)), environment=secrets)
        done = self._ports.runner.run(command, timeout=SAVE_SECONDS)
        if done.exit_code != 0 or not copy.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise UnavailableError(
                self._thing(),
                f"its RDB file is not on this host, and redis-cli cannot fetch it: "
                f"{said[-1][:300] if said else f'exit code {done.exit_code}'}",
                "name the file in rdb, or allow the user SYNC, PSYNC and REPLCONF",
            )

    def _describe(self, copy: Path, seen: Observation) -> Observation:
        try:
            with self._private(copy) as client:
                found = held(client, self._config.sample)
                missing = tuple(self._missing(client))
        except IntegrityError as error:
            damaged = Finding("damaged", _FILE, error.cause, "failed")
            return replace(seen, findings=(*seen.findings, damaged))
        except UnavailableError as error:
            detail = f"{error.cause}; {error.next_step}".rstrip("; ")
            unread = Finding("copy-not-opened", _FILE, detail, "unproven")
            return replace(seen, findings=(*seen.findings, unread))
        return replace(
            seen,
            findings=(*missing, *_nothing(bool(found.total or found.expiring))),
            collections=found.collections,
            details={**seen.details, "expiring": dict(found.expiring)},
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Have a private server load the restored file, and compare what is in it."""
        try:
            with self._private(restored / _FILE) as client:
                found = held(client, self._config.sample)
        except (IntegrityError, UnavailableError) as error:
            bad = isinstance(error, IntegrityError)
            verdict = Verdict.FAILED if bad else Verdict.UNPROVEN
            return (Check("rdb", self.name, verdict, error.cause),)
        loaded = f"Redis loads the file, whose checksum is right: {found.total} keys"
        nothing = _nothing(bool(found.total or found.expiring))
        return (
            Check("rdb", self.name, Verdict.PROVEN, loaded),
            *findings_check(self.name, nothing),
            *compare_exactly(self.name, recorded.collections, found.collections),
            *self._lapsing(found.expiring, recorded),
        )

    def _lapsing(self, after: Mapping[str, int], recorded: Observation) -> Iterator[Check]:
        before = dict(recorded.details.get("expiring") or {})
        if not before and not after:
            return
        for name, count in after.items():
            if count > int(before.get(name, 0)):
                detail = f"{name}: {count} keys with a time to live, recorded {before.get(name, 0)}"
                yield Check("expiring-keys", self.name, Verdict.FAILED, detail)
                return
        detail = f"{sum(after.values())} of {sum(map(int, before.values()))} keys with a time to "
        detail += "live have not lapsed yet"
        yield Check("expiring-keys", self.name, Verdict.PROVEN, detail)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the live server for reading."""
        with self._live() as client:
            yield _OpenRedis(client, self._config.sample)

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open the restored file in a private server, which does not write to it."""
        with self._private(restored / _FILE) as client:
            yield _OpenRedis(client, self._config.sample)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Put the file into a new directory, or every key into an empty server.

        Raises:
            RefusedError: when the directory or the server is not empty, or is the live one.
        """
        if urlsplit(address).scheme in _SCHEMES:
            return self._load_into_server(restored, plain_url(address, "the target", SCHEMES))
        target = Path(address)
        refuse_place(target, None, directory=True)
        place_tree(restored, target)
        with self._private(target / _FILE) as client:
            return held(client, self._config.sample).collections

    def _load_into_server(self, restored: Path, url: str) -> tuple[CollectionFacts, ...]:
        if url == self._url:
            raise RefusedError(f"target {url}", "it is the live store", "give a fresh server")
        with (
            self._private(restored / _FILE) as source,
            open_redis(url, self._config.user, self._password()) as target,
        ):
            if info(target, "server").get("run_id") == self._run_id():
                raise RefusedError(f"target {url}", "it is the live store", "give a fresh server")
            if databases(target):
                raise RefusedError(
                    f"target {url}",
                    "it holds keys; nothing was written",
                    "give an empty server",
                )
            try:
                _copy_keys(source, target)
                return held(target, self._config.sample).collections
            except BaseException:
                _take_back(source, target)
                raise

    def _run_id(self) -> str:
        """Return what tells the live server from any other; empty when it is not there."""
        with suppress(UnavailableError), self._live() as client:
            return str(info(client, "server").get("run_id", ""))
        return ""

    @contextmanager
    def _live(self) -> Iterator[Redis]:
        with open_redis(self._url, self._config.user, self._password()) as client:
            yield client

    @contextmanager
    def _private(self, rdb: Path) -> Iterator[Redis]:
        if not rdb.is_file():
            raise IntegrityError(f"RDB file {rdb}", "it is not there", "restore the source again")
        with rdb.open("rb") as file:
            magic = file.read(5)
        if magic != b"REDIS":
            raise IntegrityError(f"RDB file {rdb}", "it does not begin as an RDB file does")
        program_version(self._ports.runner, self._program)
        with private_server(self._ports.runner, self._ports.clock, self._program, rdb) as client:
            yield client

    def _password(self) -> Secret | None:
        reference = self._config.password
        return self._ports.secrets.resolve(reference) if reference is not None else None

    def _thing(self) -> str:
        return f"Redis server {self._url}"


class _OpenRedis:
    """A Redis that answers (an ``OpenStore``)."""

    def __init__(self, client: Redis, sample: int) -> None:
        self._client = client
        self._sample = sample

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every type of every database, and every vector set."""
        return held(self._client, self._sample).collections

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the k nearest elements of a vector set, compared one by one."""
        with redis_errors(f"collection {collection}"):
            return search(self._client, collection, vector, k)


def _nothing(anything: bool) -> tuple[Finding, ...]:
    if anything:
        return ()
    return (Finding("no-keys", "", "the store holds no key", "unproven"),)


def _state(file: Path | None) -> tuple[int, int] | None:
    try:
        seen = file.stat() if file is not None else None
    except OSError:
        return None
    return (seen.st_ino, seen.st_mtime_ns) if seen is not None else None


def _copy_keys(source: Redis, target: Redis) -> None:
    functions = source.execute_command("FUNCTION", "DUMP")
    if functions:
        target.execute_command("FUNCTION", "RESTORE", functions)
    for number in databases(source):
        source.select(number)
        target.select(number)
        for batch in scanned(source):
            for key in batch:
                left, value = source.pttl(key), source.dump(key)
                if value is not None:  # it lapsed just now
                    target.restore(key, max(left, 0), value)


def _take_back(source: Redis, target: Redis) -> None:
    """Delete what was written into a server that was empty."""
    for number in databases(target):
        source.select(number)
        target.select(number)
        for batch in scanned(source):
            target.unlink(*batch)
