"""Object stores and repository servers for tests, and policies that use them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.core.clock import Clock, SystemClock
from llmvault.core.secrets import Secret
from llmvault.objectstore.model import Location
from llmvault.objectstore.s3 import Bucket, Credential
from tests.servers import free_port, running

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Keys:
    """A user of an object store."""

    access: str
    secret: str
    principal: str = ""

    def credential(self, name: str = "tests") -> Credential:
        """Return them as llmvault holds them."""
        return Credential(name, Secret(self.access), Secret(self.secret))


@dataclass(frozen=True)
class Store:
    """A running server and the keys that may do everything on it."""

    endpoint: str
    keys: Keys

    def bucket(
        self, name: str, keys: Keys | None = None, *, prefix: str = "", clock: Clock | None = None
    ) -> Bucket:
        """Return a bucket of it, which need not exist."""
        credential = (keys or self.keys).credential()
        where = Location(self.endpoint, name, prefix)
        return Bucket(where, credential, clock or SystemClock(), attempts=3)


@contextmanager
def running_moto() -> Iterator[Store]:
    """Run moto in this process, as strict as S3 is with locks in compliance mode."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    with _strict_locks():
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield Store(f"http://{host}:{port}", Keys("tests", "tests"))
        finally:
            server.stop()


@contextmanager
def _strict_locks() -> Iterator[None]:
    """Refuse what S3 refuses and moto 5.2 accepts: a lock made shorter or weaker, versions
    suspended on a bucket with a lock."""
    from moto.s3 import models
    from moto.s3.exceptions import S3ClientError

    class DeniedError(S3ClientError):
        code = 403  # type: ignore[assignment]  # moto wants the number

        def __init__(self) -> None:
            super().__init__("AccessDenied", "Access Denied because object protected by lock.")

    def retain(
        self: Any,  # noqa: ANN401  moto has no types
        bucket_name: str,
        key_name: str,
        version_id: str,
        retention: tuple[str, str],
    ) -> None:
        key = self.get_object(bucket_name, key_name, version_id=version_id)
        mode, until = retention
        weaker = mode != "COMPLIANCE" or until < (key.lock_until or "")
        if key.lock_mode == "COMPLIANCE" and weaker:
            raise DeniedError
        key.lock_mode, key.lock_until = mode, until

    def version(self: Any, bucket_name: str, status: str) -> None:  # noqa: ANN401
        bucket = self.get_bucket(bucket_name)
        if bucket.object_lock_enabled and status != "Enabled":
            raise DeniedError
        bucket.versioning_status = status

    replaced = {"put_object_retention": retain, "put_bucket_versioning": version}
    before = {name: getattr(models.S3Backend, name) for name in replaced}
    for name, function in replaced.items():
        setattr(models.S3Backend, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(models.S3Backend, name, function)


@contextmanager
def running_rclone(directory: Path) -> Iterator[Store]:
    """Run rclone's S3 on a directory: it answers 200 to locks and versions, and stores neither."""
    keys, port = Keys("rclone-tests", "rclone-secret"), free_port()
    files = directory / "buckets"
    files.mkdir(parents=True)
    argv = [_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    argv += ["--auth-key", f"{keys.access},{keys.secret}", "--config", "", str(files)]
    with running(argv, lambda: _listening(port), directory / "log"):
        yield Store(f"http://127.0.0.1:{port}", keys)


def _rclone() -> str:
    program = shutil.which("rclone")
    assert program is not None, "rclone is not on PATH: scripts/setup test installs it"
    return program


@contextmanager
def running_rest_server(directory: Path) -> Iterator[str]:
    """Run restic's rest-server in append-only mode; yield a repository's address."""
    program, port = _rest_server(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    argv = [program, "--path", str(directory / "data"), "--listen", f"127.0.0.1:{port}"]
    argv += ["--append-only", "--no-auth"]
    with running(argv, lambda: _listening(port), directory / "log"):
        yield f"rest:http://127.0.0.1:{port}/"


def _rest_server() -> str:
    own = ROOT / ".cache" / "restic" / "bin" / "restic-rest-server"
    found = str(own) if own.exists() else shutil.which("restic-rest-server")
    assert found is not None, "restic-rest-server is missing: scripts/setup test installs it"
    return found


def _listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
