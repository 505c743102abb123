"""Deployments whose repository lies in an object store."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from llmvault.core.ids import RandomIds
from tests.stores import Keys
from tests.system.deployment import Completed, Deployment

GOVERNED = "{mode: governance, period: 2d}"
COMPLIANT = "{mode: compliance, period: 2d}"


@dataclass(frozen=True)
class Stored:
    """A deployment, and where its repository is.

    Attributes:
        variables: the keys, as the policy refers to them.
    """

    deployment: Deployment
    endpoint: str
    bucket: str
    variables: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, more: Mapping[str, str] = MappingProxyType({})) -> Completed:
        """Run a command line with the keys in its environment."""
        return self.deployment.run(*arguments, more={**self.variables, **more})

    def override(self, store: str, *, name: str = "store") -> None:
        """Let ``object_store`` of the repository differ, as YAML in one line."""
        text = f"repositories: {{primary: {{object_store: {store}}}}}"
        self.deployment.override(text, name)


def store_deployment(
    deployment: Deployment,
    endpoint: str,
    *,
    owner: Keys,
    backup: Keys | None = None,
    reader: Keys | None = None,
    lock: str = COMPLIANT,
    bucket: str = "",
    more: str = "",
) -> Stored:
    """Move a deployment's repository into a new bucket; nothing is created there yet.

    Args:
        more: further lines of ``object_store``.
    """
    name = bucket or f"llmvault-{RandomIds().token()}"
    own = backup or owner
    lines = [f"lock: {lock}", "tls_only: false", *filter(None, more.splitlines())]
    lines.append(
        "maintenance: {access_key: env:OWNER_ID, secret_key: env:OWNER_KEY"
        + (f", principal: '{owner.principal}'" if owner.principal else "")
        + "}"
    )
    if backup is not None and backup.principal:
        lines.append(f"backup_principal: '{backup.principal}'")
    if reader is not None:
        lines.append(
            "read_only: {access_key: env:READER_ID, secret_key: env:READER_KEY,"
            f" principal: '{reader.principal}'}}"
        )
    text = f"""
        repositories:
          primary:
            url: s3:{endpoint}/{name}/standard
            environment: {{AWS_ACCESS_KEY_ID: env:BACKUP_ID, AWS_SECRET_ACCESS_KEY: env:BACKUP_KEY}}
            object_store:
    """
    body = textwrap.dedent(text).strip() + "\n" + "".join(f"      {line}\n" for line in lines)
    deployment.override(body, "bucket")
    variables = {
        "OWNER_ID": owner.access,
        "OWNER_KEY": owner.secret,
        "BACKUP_ID": own.access,
        "BACKUP_KEY": own.secret,
    }
    if reader is not None:
        variables |= {"READER_ID": reader.access, "READER_KEY": reader.secret}
    return Stored(deployment, endpoint, name, variables)


def log_of(path: Path) -> str:
    """Return a file's text, for messages; empty when there is none."""
    return path.read_text() if path.exists() else ""
