"""How this installation runs: the only module that reads the environment.

| variable | meaning | default |
| --- | --- | --- |
| ``LLMVAULT_POLICIES`` | directory of policy files | ``policies`` |
| ``LLMVAULT_STATE`` | directory of catalog, manifests, reports | ``$XDG_STATE_HOME/llmvault`` |
| ``LLMVAULT_DATABASE`` | SQLAlchemy URL of the catalog | SQLite in the state directory |
| ``LLMVAULT_RESTIC`` | restic binary | ``restic`` on PATH |
| ``LLMVAULT_SCRATCH`` | where drills restore to | ``STATE/scratch`` |
| ``LLMVAULT_HOST`` | name of this host in snapshots | the host name |
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PARENT = "LLMVAULT_PARENT"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about this installation that is not policy.

    Attributes:
        account: the login name of whoever started this process.
        backups: the socket at which a scheduler asks for backups, instead of starting them.
    """

    policies: Path
    state: Path
    database: str = field(repr=False)
    restic: str
    scratch: Path
    host: str
    account: str
    environment: Mapping[str, str] = field(repr=False)
    backups: Path | None = None

    @property
    def database_is_local(self) -> bool:
        """Whether only this host reads the catalog."""
        return self.database.startswith("sqlite")


def load_settings(*, policies: Path | None = None, state: Path | None = None) -> Settings:
    """Return the settings from the environment; arguments (command line options) win."""
    env = dict(os.environ)
    home = Path(env.get("HOME", "/"))
    state_home = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
    directory = (state or Path(env.get("LLMVAULT_STATE") or state_home / "llmvault")).absolute()
    return Settings(
        policies=(policies or Path(env.get("LLMVAULT_POLICIES") or "policies")).absolute(),
        state=directory,
        database=env.get("LLMVAULT_DATABASE") or f"sqlite:///{directory / 'catalog.sqlite'}",
        restic=env.get("LLMVAULT_RESTIC") or "restic",
        scratch=Path(env.get("LLMVAULT_SCRATCH") or directory / "scratch").absolute(),
        host=env.get("LLMVAULT_HOST") or socket.gethostname(),
        account=_account(env),
        environment=env,
        backups=Path(env["LLMVAULT_BACKUPS"]) if env.get("LLMVAULT_BACKUPS") else None,
    )


def take_parent() -> int | None:
    """Return which process started this one for itself alone, if any; its children are not told."""
    told = os.environ.pop(PARENT, "")
    return int(told) if told.isdigit() else None


def _account(env: Mapping[str, str]) -> str:
    """Return the login name of whoever started this: behind sudo, of who called it."""
    user = os.geteuid()
    if user == 0 and env.get("SUDO_USER"):
        return env["SUDO_USER"]
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
