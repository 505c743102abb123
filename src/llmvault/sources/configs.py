"""Configuration files and prompt templates, chosen by patterns below a root.

Who owns a file and who may read it is part of a configuration, so mode and owner are recorded and
compared. Prompts and templates are versioned by the digest of their content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llmvault.core.canonical import digest
from llmvault.core.entries import Entry
from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.files import list_tree
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.config_files import prompts_of, record_of
from llmvault.sources.exclusion import left_out
from llmvault.sources.formats.names import printable
from llmvault.sources.globs import OnError, expand, leaves_root
from llmvault.sources.interface import (
    Capture,
    Finding,
    Observation,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.walk import existing_root, is_cache_folder, unreadable_finding

if TYPE_CHECKING:
    from llmvault.policy.sources import ConfigsSource

_EVERYTHING = ("**",)


@dataclass(frozen=True, slots=True)
class _Selection:
    """What the patterns choose.

    Attributes:
        entries: files and symbolic links, by path.
        matches: pattern -> how many names it matched, exclusions not applied.
    """

    root: Path
    entries: Mapping[str, Entry]
    matches: Mapping[str, int]
    findings: tuple[Finding, ...]


class Configurations:
    """Files below a root, chosen by patterns."""

    kind: ClassVar[str] = "configs"

    def __init__(self, name: str, config: ConfigsSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the root."""
        return str(self._config.path)

    def place(self) -> Path:
        """Return the directory."""
        return self._config.path

    def seen_at(self, place: Path) -> Configurations:
        """Return the same source, read at another place."""
        config = self._config.model_copy(update={"path": place})
        return Configurations(self.name, config, self._ports)

    def observe(self) -> Observation:
        """Record mode, owner and digest of every file.

        Raises:
            PolicyError: when a pattern leaves the root.
            UnavailableError: when the root does not exist or no pattern matches.
        """
        selection = self._select()
        findings = [*selection.findings, *_unmatched(selection), *_links(selection)]
        files: dict[str, dict[str, Any]] = {}
        for path, entry in selection.entries.items():
            files[printable(path)] = record_of(selection.root, entry, findings)
        prompts = prompts_of(files)
        details = {
            "files": files,
            "patterns": dict(selection.matches),
            "prompts": prompts,
            "prompts_version": digest(prompts) if prompts else "",
        }
        return Observation(findings=tuple(findings), details=details)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the root, with the matched paths unless the policy includes everything."""
        selection = self._select()
        whole = self._config.include == _EVERYTHING and not self._config.exclude_caches
        yield TreeCapture(
            root=selection.root,
            paths=None if whole else tuple(selection.entries),
            exclude=self._config.exclude if whole else (),
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare restored files with the recorded ones.

        Checks: ``content`` (digests and link targets), ``modes``, ``owners`` (by number, as root
        only: nobody else can restore them) and ``prompts``.
        """
        expected = recorded.details.get("files")
        if not isinstance(expected, Mapping) or not expected:
            detail = "the recovery point records no file"
            return (Check("content", self.name, Verdict.UNPROVEN, detail),)
        unread: dict[str, str] = {}
        found = _restored(existing_root(restored, self.name), expected, unread)
        checks = [_content(self.name, expected, found, unread), _modes(self.name, expected, found)]
        if os.geteuid() == 0:
            checks.append(_compare("owners", self.name, expected, found, ("uid", "gid")))
        prompts = recorded.details.get("prompts")
        if prompts:
            checks.append(_prompts_check(self.name, prompts, found))
        return tuple(checks)

    def _select(self) -> _Selection:
        config = self._config
        for pattern in config.include:
            if leaves_root(pattern):
                raise PolicyError(
                    f'source "{self.name}"',
                    f"the pattern {pattern} leaves the root {config.path}",
                    "write patterns relative to the root, or choose a higher root",
                )
        root = existing_root(config.path, self.name)
        findings: list[Finding] = []
        matched: dict[str, Entry] = {}
        matches = {}
        for pattern in config.include:
            chosen = {e.path: e for e in expand(root, pattern, _noting(findings))}
            matches[pattern] = len(chosen)
            matched |= chosen
        entries = self._without_excluded(root, matched)
        findings.extend(_special(entries.values()))
        kept = {path: e for path, e in entries.items() if e.kind in ("file", "symlink")}
        if not kept:
            raise UnavailableError(
                f'source "{self.name}"',
                f"none of its patterns matches a file below {config.path}",
                "correct path, include or exclude",
            )
        return _Selection(root, kept, matches, tuple(dict.fromkeys(findings)))

    def _without_excluded(self, root: Path, matched: Mapping[str, Entry]) -> dict[str, Entry]:
        config = self._config
        in_cache = _in_cache_folder(root) if config.exclude_caches else lambda _: False
        return {
            path: matched[path]
            for path in sorted(matched, key=os.fsencode)
            if not left_out(path, config.exclude) and not in_cache(path)
        }


def _noting(findings: list[Finding]) -> OnError:
    return lambda path, error: findings.append(unreadable_finding(path, error))


def _in_cache_folder(root: Path) -> Callable[[str], bool]:
    @cache
    def tagged(folder: str) -> bool:
        above = folder.rpartition("/")[0]
        return is_cache_folder(root / folder) or (folder != "" and tagged(above))

    return lambda path: tagged(path.rpartition("/")[0])


def _special(entries: Iterable[Entry]) -> Iterator[Finding]:
    for entry in entries:
        if entry.kind not in ("file", "symlink"):
            detail = f"a {entry.kind} has no content that a backup could keep"
            yield Finding("special-file", printable(entry.path), detail, "warning")


def _unmatched(selection: _Selection) -> Iterator[Finding]:
    for pattern, count in selection.matches.items():
        if count == 0:
            detail = f"the pattern {pattern} matches nothing"
            yield Finding("pattern-unmatched", printable(pattern), detail, "warning")


def _links(selection: _Selection) -> Iterator[Finding]:
    for path, entry in selection.entries.items():
        if entry.kind != "symlink":
            continue
        target = os.path.normpath(os.path.join(os.path.dirname(path), entry.target))  # noqa: PTH118, PTH120
        if target not in selection.entries:
            detail = f"what it points to, {printable(entry.target)}, is not in this source"
            yield Finding("link-not-captured", printable(path), detail, "warning")


def _restored(
    root: Path, expected: Mapping[str, Any], unread: dict[str, str]
) -> dict[str, dict[str, Any]]:
    def note(path: str, error: OSError) -> None:
        unread[printable(path)] = error.strerror or str(error)

    found = {}
    for entry in list_tree(root, on_error=note):
        path = printable(entry.path)
        if path not in expected or entry.kind not in ("file", "symlink"):
            continue
        problems: list[Finding] = []
        found[path] = record_of(root, entry, problems)
        unread |= {each.path: each.detail for each in problems if each.severity != "warning"}
    return found


def _content(
    source: str, expected: Mapping[str, Any], found: Mapping[str, Any], unread: Mapping[str, str]
) -> Check:
    if unread:
        path = min(unread)
        detail = f"{len(unread)} names cannot be read, e.g. {path}: {unread[path]}"
        return Check("content", source, Verdict.UNPROVEN, detail)
    return _compare("content", source, expected, found, ("sha256", "size", "link"))


def _modes(source: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Check:
    check = _compare("modes", source, expected, found, ("mode",))
    if os.geteuid() == 0:
        return check
    note = "owners were not compared: only root can restore them"
    return Check("modes", source, check.verdict, f"{check.detail}; {note}")


def _compare(
    name: str,
    source: str,
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    fields: tuple[str, ...],
) -> Check:
    wrong = [
        path
        for path, record in expected.items()
        if any(found.get(path, {}).get(each) != record.get(each) for each in fields)
    ]
    if wrong:
        detail = f"{name} of {len(wrong)} of {len(expected)} files are not as recorded"
        return Check(name, source, Verdict.FAILED, f"{detail}, e.g. {wrong[0]}")
    detail = f"{name} of {len(expected)} files are as recorded"
    return Check(name, source, Verdict.PROVEN, detail)


def _prompts_check(source: str, expected: Mapping[str, str], found: Mapping[str, Any]) -> Check:
    wrong = [path for path in expected if found.get(path, {}).get("sha256") != expected[path]]
    if wrong:
        detail = f"{len(wrong)} of {len(expected)} prompts are not the recorded version"
        return Check("prompts", source, Verdict.FAILED, f"{detail}, e.g. {wrong[0]}")
    detail = f"{len(expected)} prompts are of version {digest(dict(expected))[:12]}"
    return Check("prompts", source, Verdict.PROVEN, detail)
