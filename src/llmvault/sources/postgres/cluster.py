"""A private PostgreSQL cluster that lives as long as a context: for drills.

It listens on a Unix socket in a directory of its own, and on no network address. PostgreSQL refuses
to run as root, and what a dump restores runs code as the server's user, so for root the server runs
as an account without rights. Where that account cannot reach the scratch directory (below a closed
home directory, say), the cluster lies in ``/var/tmp`` instead: opening other directories, or giving
the account the right to pass through them, would be worse. A lock held by this process marks the
directory as used; what a killed process left is removed by the next one.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.process import Command, Process, Runner
from llmvault.sources.postgres.connection import Address
from llmvault.sources.postgres.programs import Programs

ROLE = "postgres"
_ACCOUNTS = ("postgres", "nobody")
_PREFIX = "llmvault-pg-"
_LOCK = "lock"
_SHARED_TEMPORARY = Path("/var/tmp")  # noqa: S108  survives restarts and is seldom in memory
_LONGEST_SOCKET_PATH = 100  # bytes; unix(7) allows 107
_SOCKET_NAME = ".s.PGSQL.5432"
_START_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_OWN_SETTINGS = "postgresql.auto.conf"
_ANY_DATABASE = "template1"
_LIBRARY = re.compile(r"=> (/\S+)")
_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "dynamic_shared_memory_type=mmap",  # containers give /dev/shm too little for index builds
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "max_connections=20",
    "maintenance_work_mem=256MB",
    "logging_collector=off",
)
_BACKUP_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "dynamic_shared_memory_type=mmap",
    "archive_mode=off",
    "hot_standby=off",
    "max_connections=20",
    "logging_collector=off",
    "log_destination=stderr",
    "lc_messages=C",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster.

    Attributes:
        programs: what it runs with.
        socket: the directory of its socket.
        data: its data directory.
        process: the server.
    """

    programs: Programs
    socket: Path
    data: Path
    process: Process

    def address(self, database: str, role: str = ROLE) -> Address:
        """Return how its superuser reaches a database."""
        return Address({"host": str(self.socket), "port": "5432", "user": role, "dbname": database})

    def stop(self) -> None:
        """Shut it down in order; its data directory stays until the context is left."""
        self.process.stop()


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far a base backup is rolled forward, from archived WAL.

    Attributes:
        archive: directory of WAL segments.
        point: name of a restore point; empty for none.
        time: as PostgreSQL writes it; empty for none. With neither, all WAL is used.
    """

    archive: Path
    point: str = ""
    time: str = ""


@contextmanager
def private_cluster(
    programs: Programs, scratch: Path, runner: Runner, clock: Clock
) -> Iterator[Cluster]:
    """Make a fresh cluster, run it, and remove it.

    Raises:
        UnavailableError: when it cannot be made or does not start.
    """
    account = _Account.for_server(runner)
    with ExitStack() as stack:
        home = stack.enter_context(_home(scratch, account))
        ground = _Ground(account, home, stack.enter_context(_socket_directory(home, account)))
        usable, libraries = _reachable_programs(programs, runner, ground)
        start = (*account.prefix, *_clean_environment(runner, libraries))
        _initialise(usable, start, runner, ground)
        command = _server(usable, start, ground)
        (home / "log").touch(mode=0o600)
        process = stack.enter_context(runner.start(command, log=home / "log"))
        cluster = Cluster(programs, ground.socket, ground.data, process)
        _wait_until_ready(cluster, home / "log", clock)
        yield cluster


@contextmanager
def running_backup(
    programs: Programs,
    base: Path,
    scratch: Path,
    tools: tuple[Runner, Clock],
    recovery: Recovery | None,
    role: str,
) -> Iterator[Cluster]:
    """Run a copy of a base backup, recovered and open for writing, and remove it.

    None of the settings that came with it hold: its archive_command would write into the live
    archive. They are put back when it is told to stop.

    Args:
        role: its superuser.

    Raises:
        IntegrityError: when it does not start, or the point in time cannot be reached.
    """
    runner, clock = tools
    account = _Account.for_server(runner)
    with ExitStack() as stack:
        home = stack.enter_context(_home(scratch, account))
        ground = _Ground(account, home, stack.enter_context(_socket_directory(home, account)))
        usable, libraries = _reachable_programs(programs, runner, ground)
        start = (*account.prefix, *_clean_environment(runner, libraries))
        settings = _lay_out(base, recovery, ground, runner)
        command = _server(usable, start, ground, settings)
        (home / "log").touch(mode=0o600)
        process = stack.enter_context(runner.start(command, log=home / "log"))
        cluster = Cluster(programs, ground.socket, ground.data, process)
        try:
            _wait_until_ready(cluster, home / "log", clock, role)
        except UnavailableError as error:
            raise IntegrityError(f"base backup {base}", error.cause, error.next_step) from error
        (home / _OWN_SETTINGS).replace(ground.data / _OWN_SETTINGS)
        yield cluster


def _lay_out(
    base: Path, recovery: Recovery | None, ground: _Ground, runner: Runner
) -> tuple[str, ...]:
    """Copy a base backup to where the server may have it; return the settings it starts with."""
    home, data = ground.home, ground.data
    _copied(base, data, runner)
    (data / _OWN_SETTINGS).touch()
    (data / _OWN_SETTINGS).replace(home / _OWN_SETTINGS)
    (data / _OWN_SETTINGS).write_text("")
    (home / "hba.conf").write_text("local all all trust\n")
    (home / "server.conf").write_text("")
    settings = [*_BACKUP_SETTINGS, f"hba_file={home / 'hba.conf'}"]
    settings.append(f"config_file={home / 'server.conf'}")
    if recovery is not None:
        _copied(recovery.archive, home / "archive", runner)
        (data / "recovery.signal").touch()
        settings.append(f'restore_command=cp "{home / "archive"}/%f" "%p"')
        settings.append("recovery_target_action=promote")
        if recovery.point:
            settings.append(f"recovery_target_name={recovery.point}")
        if recovery.time:
            settings.append(f"recovery_target_time={recovery.time}")
    _give_all(home, ground.account, runner)
    return tuple(settings)


def _copied(origin: Path, target: Path, runner: Runner) -> None:
    done = runner.run(Command(("cp", "-a", "--reflink=auto", "-T", str(origin), str(target))))
    if done.exit_code != 0:
        raise UnavailableError(
            f"copy of {origin}", done.stderr.strip()[-500:], "look at free space"
        )
    target.chmod(0o700)


def _give_all(home: Path, account: _Account, runner: Runner) -> None:
    """Give what is in a directory to the server's account, but for its lock and log."""
    if account.uid == os.geteuid():
        return
    names = ("data", "archive", "hba.conf", "server.conf", _OWN_SETTINGS)
    paths = [str(home / name) for name in names if (home / name).exists()]
    runner.run(Command(("chown", "-R", f"{account.uid}:{account.gid}", *paths)))


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as.

    Attributes:
        prefix: what starts a program as that account.
    """

    uid: int
    gid: int
    prefix: tuple[str, ...]

    @classmethod
    def for_server(cls, runner: Runner) -> _Account:
        # a server that loses its parent shuts down at once (INT) instead of waiting for clients
        farewell = ("setpriv", "--pdeathsig", "INT", "--no-new-privs")
        runner.run(Command(("setpriv", "--version")))
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), (*farewell, "--"))
        for name in _ACCOUNTS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            ids = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
            return cls(entry.pw_uid, entry.pw_gid, (*farewell, *ids, "--"))
        raise UnavailableError(
            "PostgreSQL", "it refuses to run as root and there is no account nobody", "add one"
        )

    def reaches(self, path: Path) -> bool:
        """Whether every directory on the way to a path lets the account pass."""
        return self.uid == os.geteuid() or all(
            parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents
        )


@dataclass(frozen=True, slots=True)
class _Ground:
    account: _Account
    home: Path
    socket: Path

    @property
    def data(self) -> Path:
        return self.home / "data"


@contextmanager
def _home(scratch: Path, account: _Account) -> Iterator[Path]:
    below_scratch = account.reaches(scratch / "x")
    with _locked_directory(scratch if below_scratch else _SHARED_TEMPORARY, account) as home:
        yield home


@contextmanager
def _socket_directory(home: Path, account: _Account) -> Iterator[Path]:
    own = home / "socket"
    if len(os.fsencode(own / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        _give(own, account)
        yield own
        return
    usual = Path(tempfile.gettempdir())
    base = usual if account.reaches(usual / "x") else _SHARED_TEMPORARY
    with _locked_directory(base, account) as short:
        _give(short / "socket", account)
        yield short / "socket"


@contextmanager
def _locked_directory(base: Path, account: _Account) -> Iterator[Path]:
    """Make a directory with a random name, locked while in use; the account may pass through it."""
    _sweep(base)
    directory, lock = _new_directory(base)
    try:
        if account.uid != os.geteuid():
            directory.chmod(0o711)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _new_directory(base: Path) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / _LOCK).exists():
            return directory, lock
        os.close(lock)  # somebody's sweep came between; again


def _sweep(base: Path) -> None:
    """Remove directories that a killed process left: ours, and no longer locked."""
    for directory in base.glob(f"{_PREFIX}*"):
        seen = directory.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            continue
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _give(directory: Path, account: _Account) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, account.uid, account.gid)


def _clean_environment(runner: Runner, libraries: Path | None) -> tuple[str, ...]:
    """Return what starts a program without our environment, which may hold secrets."""
    path = runner.run(Command(("printenv", "PATH"))).stdout.strip()
    variables = [f"PATH={path}", "LC_ALL=C"]
    if libraries is not None:
        variables.append(f"LD_LIBRARY_PATH={libraries}")
    return ("env", "-i", *variables)


def _reachable_programs(
    programs: Programs, runner: Runner, ground: _Ground
) -> tuple[Programs, Path | None]:
    """Return programs that the account can start, and where their libraries are if copied.

    They are copied when they lie in a closed directory.
    """
    directory = programs.directory
    if directory is None or ground.account.reaches(directory / "postgres"):
        return programs, None
    prefix = ground.home / "programs"
    for part in ("bin", "lib", "share"):
        shutil.copytree(directory.parent / part, prefix / part)
    libraries = prefix / "libraries"
    libraries.mkdir()
    for library in _libraries(programs, runner):
        if not ground.account.reaches(library):
            shutil.copy(library, libraries)
    return Programs(prefix / "bin", programs.version, programs.major), libraries


def _libraries(programs: Programs, runner: Runner) -> Iterator[Path]:
    done = runner.run(Command(("ldd", programs.path("initdb"), programs.path("postgres"))))
    yield from (Path(path) for path in _LIBRARY.findall(done.stdout))


def _initialise(
    programs: Programs, start: tuple[str, ...], runner: Runner, ground: _Ground
) -> None:
    _give(ground.data, ground.account)
    access = (f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--no-locale")
    argv = (*start, programs.path("initdb"), *access, "--no-sync", "-D", str(ground.data))
    done = runner.run(Command(argv, cwd=Path("/")))
    if done.exit_code != 0:
        raise UnavailableError(
            f"initdb {programs.version}",
            f"it ended with exit code {done.exit_code}: {done.stderr.strip()[-500:]}",
            "look at free space and at the programs' directory",
        )


def _server(
    programs: Programs,
    start: tuple[str, ...],
    ground: _Ground,
    chosen: tuple[str, ...] = _SETTINGS,
) -> Command:
    settings = [part for setting in chosen for part in ("-c", setting)]
    place = ("-D", str(ground.data), "-k", str(ground.socket), "-p", "5432")
    argv = (*start, programs.path("postgres"), *place, *settings)
    return Command(argv, cwd=Path("/"))


def _recovering(log: Path) -> bool:
    """Whether a server is rolling forward, which takes as long as there is WAL."""
    return b"starting archive recovery" in log.read_bytes()


def _wait_until_ready(cluster: Cluster, log: Path, clock: Clock, role: str = ROLE) -> None:
    import psycopg

    process = cluster.process
    address = cluster.address(_ANY_DATABASE, role).conninfo()
    give_up = clock.monotonic() + _START_SECONDS
    while process.running() and (clock.monotonic() < give_up or _recovering(log)):
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError:
            clock.sleep(_PAUSE_SECONDS)
        else:
            return
    said = log.read_text(errors="replace")[-1000:].strip()
    raise UnavailableError(
        f"PostgreSQL {cluster.programs.version}",
        f"the private server did not start: {said}",
        "look at free space and at the programs' directory",
    )
