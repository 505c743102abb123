"""The driver of secrets: which ones a deployment needs, never what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llmvault.core.canonical import canonical_bytes
from llmvault.core.entries import Entry
from llmvault.core.errors import IntegrityError, PolicyError, UnavailableError, VaultError
from llmvault.core.files import write_durably
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.env_secrets.files import SecretDigests, Secrets, read_secrets
from llmvault.sources.exclusion import left_out
from llmvault.sources.formats.documents import read_document
from llmvault.sources.formats.names import printable
from llmvault.sources.globs import expand, leaves_root
from llmvault.sources.interface import Capture, Finding, Observation, SourcePorts, TreeCapture
from llmvault.sources.walk import existing_root, unreadable_finding

if TYPE_CHECKING:
    from llmvault.policy.sources import EnvSecretsSource

LISTING = "secrets.json"
_SHORTEST_KEY = 16
_NAMED = 5


class EnvSecrets:
    """Files with secrets: ``.env``, systemd credentials, Docker secrets.

    A capture holds one document with the names of the secrets and keyed digests. Values stay where
    they are: they come back out of the store of secrets that they came from, and a restore or drill
    tells which of them are missing here, or are others than they were.
    """

    kind: ClassVar[str] = "env_secrets"

    def __init__(self, name: str, config: EnvSecretsSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the directory that the patterns are relative to."""
        return str(self._config.path)

    def observe(self) -> Observation:
        """Record names, modes and keyed digests.

        Raises:
            PolicyError: when a pattern leaves the root, or the key is too short.
            UnavailableError: when the root does not exist, no pattern matches, or there is no key.
        """
        digests = self._digests()
        secrets = self._secrets(digests)
        findings = (*secrets.findings, *self._required(secrets.digests))
        details = {"files": secrets.files, "secrets": secrets.digests, "key": digests.key_id}
        return Observation(findings=findings, details=details)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield one document, :data:`LISTING`, without values."""
        observation = self.observe()
        write_durably(staging / LISTING, _document(observation.details))
        yield TreeCapture(staging, observation=observation)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare the restored list, and the secrets of this host, with what was recorded.

        Checks: ``secrets-listed`` (the document is the recorded one) and ``secrets`` (every secret
        that the deployment needs is here, and is the one that it was).
        """
        expected = recorded.details.get("secrets")
        if not isinstance(expected, Mapping) or not expected:
            detail = "the recovery point records no secret"
            return (Check("secrets-listed", self.name, Verdict.UNPROVEN, detail),)
        return (self._listed(restored, recorded.details), self._present(recorded.details))

    def _listed(self, restored: Path, details: Mapping[str, Any]) -> Check:
        name = "secrets-listed"
        try:
            found = read_document(restored / LISTING, LISTING, fault="listing-invalid")
        except OSError as error:
            cause = f"{LISTING} cannot be read: {error.strerror}"
            return Check(name, self.name, Verdict.FAILED, cause)
        except IntegrityError as error:
            return Check(name, self.name, Verdict.FAILED, error.cause)
        if found != _listing(details):
            detail = f"{LISTING} is not what was recorded"
            return Check(name, self.name, Verdict.FAILED, detail)
        detail = f"{len(details['secrets'])} secrets are listed by name, without values"
        return Check(name, self.name, Verdict.PROVEN, detail)

    def _present(self, details: Mapping[str, Any]) -> Check:
        expected: Mapping[str, str] = details["secrets"]
        try:
            digests = self._digests()
        except VaultError as error:
            return self._unproven(f"{error.thing}: {error.cause}")
        try:
            found = self._secrets(digests)
        except UnavailableError:
            return self._missing(expected, expected)
        return self._compared(expected, found, same_key=digests.key_id == details.get("key"))

    def _compared(self, expected: Mapping[str, str], found: Secrets, *, same_key: bool) -> Check:
        absent = [name for name in expected if expected[name] and not found.digests.get(name)]
        unread = [one for one in found.findings if one.severity == "unproven"]
        if absent and unread:
            return self._unproven(f"{unread[0].path}: {unread[0].detail}")
        if absent:
            return self._missing(absent, expected)
        if not same_key:
            return self._unproven(
                f"{len(expected)} secrets are on this host by name; whether they are the same "
                "cannot be told, the recorded digests were made with another key"
            )
        changed = [name for name in expected if found.digests.get(name, "") != expected[name]]
        if changed:
            return self._unproven(
                f"{len(changed)} of {len(expected)} secrets are others than when the recovery "
                f"point was made: {_some(changed)}"
            )
        detail = f"{len(expected)} secrets are on this host and are those that were recorded"
        return Check("secrets", self.name, Verdict.PROVEN, detail)

    def _unproven(self, detail: str) -> Check:
        return Check("secrets", self.name, Verdict.UNPROVEN, detail)

    def _missing(self, absent: Iterable[str], expected: Mapping[str, str]) -> Check:
        names = sorted(absent)
        detail = (
            f"{len(names)} of {len(expected)} secrets that the deployment needs are not in "
            f"{self._config.path}: {_some(names)}; no backup holds their values"
        )
        return Check("secrets", self.name, Verdict.FAILED, detail)

    def _required(self, digests: Mapping[str, str]) -> Iterator[Finding]:
        for wanted in self._config.required:
            held = [name for name in digests if wanted in _names(name)]
            if not any(digests[name] for name in held):
                detail = "it is empty" if held else "no file has it"
                yield Finding("secret-missing", printable(wanted), detail, "failed")

    def _digests(self) -> SecretDigests:
        key = self._ports.secrets.resolve(self._config.key).reveal().encode()
        if len(key) < _SHORTEST_KEY:
            raise PolicyError(
                f'key of source "{self.name}"',
                f"it has less than {_SHORTEST_KEY} bytes, so weak secrets could be guessed",
                "make one: openssl rand -hex 32",
            )
        return SecretDigests(key)

    def _secrets(self, digests: SecretDigests) -> Secrets:
        root = existing_root(self._config.path, self.name)
        unread: list[Finding] = []
        entries = self._entries(root, unread)
        if not entries and not unread:
            raise UnavailableError(
                f'source "{self.name}"',
                f"none of its patterns matches a file below {root}",
                "correct path, include or exclude",
            )
        found = read_secrets(root, entries, self._config.env, digests)
        found.findings.extend(dict.fromkeys(unread))
        return found

    def _entries(self, root: Path, unread: list[Finding]) -> dict[str, Entry]:
        config = self._config
        entries: dict[str, Entry] = {}
        for pattern in config.include:
            if leaves_root(pattern):
                raise PolicyError(
                    f'source "{self.name}"',
                    f"the pattern {pattern} leaves the root {root}",
                    "write patterns relative to the root, or choose a higher root",
                )
            for entry in expand(
                root, pattern, lambda path, error: unread.append(unreadable_finding(path, error))
            ):
                if entry.kind in ("file", "symlink") and not left_out(entry.path, config.exclude):
                    entries[entry.path] = entry
        return {path: entry for path, entry in entries.items() if not (root / path).is_dir()}


def _names(secret: str) -> tuple[str, ...]:
    """Return what a policy may call a secret: ``file:NAME``, ``NAME``, a path, a file's name."""
    path, colon, name = secret.rpartition(":")
    return (secret, name) if colon and path else (secret, secret.rpartition("/")[2])


def _listing(details: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": 1, **{key: details[key] for key in ("files", "secrets", "key")}}


def _document(details: Mapping[str, Any]) -> bytes:
    return canonical_bytes(_listing(details)) + b"\n"


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
