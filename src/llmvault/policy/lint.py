"""Advice on policies that are valid and yet dangerous. Pure: same policy and facts, same advice."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llmvault.policy.engines import OpenAIEngine
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.observe import Surroundings, local_path, secret_files
from llmvault.policy.secrecy import hidden_arguments, hide, names_secret, shows_secret
from llmvault.policy.sources import ConfigsSource, HfCacheSource, Source
from llmvault.policy.tree import Keys, Place, dotted

_READABLE_BY_OTHERS = 0o044
_WILDCARDS = frozenset("*?[")


class Severity(StrEnum):
    """How bad it is; ``danger`` means that a backup would not hold what it should."""

    DANGER = "danger"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to change.

    Attributes:
        rule: stable name, e.g. ``unpinned-model``.
        place: where it is written; None for a built-in default.
        path: where in the policy.
        message: what is dangerous, why, and what to do.
    """

    rule: str
    severity: Severity
    place: Place | None
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.severity.value}: {self.path}: {self.message} [{self.rule}]"

    def sort_key(self) -> tuple[str, int, str, str]:
        """Return what orders advice as a reader of the files meets it."""
        file, line = (str(self.place.file), self.place.line) if self.place else ("", 0)
        return (file, line, self.path, self.rule)

    def as_json(self) -> dict[str, str | int | None]:
        """Return it as JSON values; file, line and column are null for a built-in default."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "file": str(self.place.file) if self.place else None,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "path": self.path,
            "message": self.message,
        }


def lint(loaded: LoadedPolicy, surroundings: Surroundings) -> tuple[Advice, ...]:
    """Return all advice, worst first, then in the order of the files."""
    found = {
        Advice(
            rule=rule,
            severity=severity,
            place=loaded.origin(*keys).place,
            path=dotted(keys),
            message=message,
        )
        for rule, (severity, look) in RULES.items()
        for keys, message in look(loaded, surroundings)
    }
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: (order.index(one.severity), one.sort_key())))


Found = Iterator[tuple[Keys, str]]


def _excluded_cache(loaded: LoadedPolicy, surroundings: Surroundings) -> Found:
    for name, source in loaded.policy.sources.items():
        cache = _cache_of(name, source, loaded, surroundings) if source.exclude_caches else None
        if cache is not None:
            yield (
                ("sources", name, "exclude_caches"),
                f"{cache} is a Hugging Face cache and marked with CACHEDIR.TAG: the backup would "
                "hold 44 bytes, no weights, and still succeed. Set exclude_caches: false",
            )


def _cache_of(
    name: str, source: Source, loaded: LoadedPolicy, surroundings: Surroundings
) -> Path | None:
    """Return the cache that a source is, lies in, or holds."""
    path = local_path(source)
    if path is None or isinstance(source, HfCacheSource):
        return path
    root = surroundings.real_path(path)
    for other in loaded.policy.sources.values():
        if isinstance(other, HfCacheSource):
            cache = surroundings.real_path(other.path)
            if root.is_relative_to(cache) or cache.is_relative_to(root):
                return other.path
    inside = [part for part in (root, *root.parents) if part.name.startswith("models--")]
    return next(iter((*inside, *surroundings.caches_below.get(name, ()))), None)


def _nested(loaded: LoadedPolicy, surroundings: Surroundings) -> Found:
    others = [
        (f'repository "{name}"', path)
        for name, repository in loaded.policy.repositories.items()
        if (path := repository.local_path)
    ]
    others += surroundings.own_directories.items()
    for name, source in loaded.policy.sources.items():
        for what, path in others:
            message = _overlap(source, what, path, surroundings)
            if message:
                yield ("sources", name, "path"), message


def _overlap(source: Source, what: str, path: Path, surroundings: Surroundings) -> str:
    directory = surroundings.real_path(path)
    for root in _roots(source, surroundings):
        if root.is_relative_to(directory):
            return f"lies inside the {what} ({path}); keep what is backed up apart from it"
        if directory.is_relative_to(root) and not _is_excluded(source, directory, surroundings):
            return (
                f"holds the {what} ({path}): each backup would read what the last one wrote. "
                "Move it away, or leave it out with exclude"
            )
    return ""


def _roots(source: Source, surroundings: Surroundings) -> Iterator[Path]:
    """Yield the directories that a source reads."""
    path = local_path(source)
    if path is None:
        return
    root = surroundings.real_path(path)
    for pattern in source.include if isinstance(source, ConfigsSource) else ("**",):
        parts = Path(pattern).parts
        fixed = next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts))
        yield root.joinpath(*parts[:fixed])


def _is_excluded(source: Source, directory: Path, surroundings: Surroundings) -> bool:
    path = local_path(source)
    root = surroundings.real_path(path) if path else directory
    if not directory.is_relative_to(root):
        return False
    parts = directory.relative_to(root).parts
    candidates = {*parts, *("/".join(parts[: end + 1]) for end in range(len(parts)))}
    return any(
        fnmatch.fnmatchcase(one, rule.strip("/")) for one in candidates for rule in source.exclude
    )


def _unpinned(loaded: LoadedPolicy, _: Surroundings) -> Found:
    for name, source in loaded.policy.sources.items():
        for index, model in enumerate(source.models if isinstance(source, HfCacheSource) else ()):
            if not model.is_pinned:
                yield (
                    ("sources", name, "models", index, "revision"),
                    f'"{model.revision}" is a branch or tag and may move: a recovery would not be '
                    "of the model that was tested. Write the commit's 40 hex digits, as in the "
                    f"cache's file models--{model.repo.replace('/', '--')}/refs/{model.revision}",
                )


def _mixed_classes(loaded: LoadedPolicy, _: Surroundings) -> Found:
    first: dict[str, str] = {}
    for name, repository in loaded.policy.repositories.items():
        other = first.setdefault(repository.url.rstrip("/"), name)
        retention = loaded.policy.repositories[other].retention_class
        if retention != repository.retention_class:
            yield (
                ("repositories", name, "retention_class"),
                f'is "{repository.retention_class}", but the same repository is of class '
                f'"{retention}" as "{other}": locks and pruning work on a whole repository. '
                "Give each class its own",
            )


def _written_secret(loaded: LoadedPolicy, _: Surroundings) -> Found:
    in_url = "holds a password; write it as a reference (password: file:…) and take it out here"
    for section in ("repositories", "sources"):
        for name, item in getattr(loaded.policy, section).items():
            if shows_secret(getattr(item, "url", None) or ""):
                yield (section, name, "url"), in_url
    for name, engine in loaded.policy.engines.items():
        if isinstance(engine, OpenAIEngine):
            yield from _secrets_of_engine(loaded, name, engine)


def _secrets_of_engine(loaded: LoadedPolicy, name: str, engine: OpenAIEngine) -> Found:
    for variable, value in engine.environment.items():
        keys: Keys = ("engines", name, "environment", variable)
        written = not loaded.origin(*keys).variables
        if value and written and (names_secret(variable) or hide(value) != value):
            yield keys, f"seems to be a secret; write ${{{variable}}} and export it instead"
    shown = hidden_arguments(engine.command)
    for index, (given, hidden) in enumerate(zip(engine.command, shown, strict=True)):
        if given != hidden:
            yield (
                ("engines", name, "command", index),
                "seems to hold a secret, which every user of the machine can see in the process "
                "list; give it to the server by environment",
            )


def _unplanned(loaded: LoadedPolicy, _: Surroundings) -> Found:
    planned = {name for plan in loaded.policy.plans.values() for name in plan.sources}
    for name in loaded.policy.sources:
        if name not in planned:
            yield ("sources", name), "is in no plan, so it is never backed up; add it to one"


def _open_secret_file(loaded: LoadedPolicy, surroundings: Surroundings) -> Found:
    for keys, file in secret_files(loaded.policy):
        mode = surroundings.secret_modes.get(file, 0)
        if mode & _READABLE_BY_OTHERS:
            yield keys, f"{file} can be read by other users (mode {mode:04o}); chmod 600 {file}"


def _single_copy(loaded: LoadedPolicy, _: Surroundings) -> Found:
    for name, plan in loaded.policy.plans.items():
        if len(plan.repositories) == 1:
            yield (
                ("plans", name, "repositories"),
                "one repository is one copy; add a second one elsewhere, so that losing a site or "
                "an account does not lose the backup with it",
            )


def _short_lock(loaded: LoadedPolicy, _: Surroundings) -> Found:
    for name, repository in loaded.policy.repositories.items():
        kept = loaded.policy.retention.get(repository.retention_class)
        if kept is None or kept.locked_for is None or repository.url.startswith("/"):
            continue
        lock = repository.object_store.lock if repository.object_store else None
        if lock is None or lock.renewal < kept.locked_for:
            days = kept.locked_for.total_seconds() / 86400
            yield (
                ("repositories", name),
                f"class {repository.retention_class} demands that everything is locked for {days:g}"
                " days, and its storage promises less: set object_store.lock.extend_before to as"
                " much, with a longer period, for older packs have only that left",
            )


def _unapprovable(loaded: LoadedPolicy, _: Surroundings) -> Found:
    for name, kept in loaded.policy.retention.items():
        rule = loaded.policy.approvals.get(kept.approval)
        if rule is None:
            yield (
                ("retention", name),
                f'nothing is ever deleted, because there is no "{kept.approval}" in approvals; '
                "say there how many people must approve",
            )
    for name, rule in loaded.policy.approvals.items():
        able = [one for one in loaded.policy.people.values() if one.may_approve(rule)]
        if len(able) < rule.approvers:
            yield (
                ("approvals", name),
                f"{rule.approvers} must approve, but only {len(able)} of the people have a fitting "
                "key and role; add people, or ask for fewer",
            )


RULES: dict[str, tuple[Severity, Callable[[LoadedPolicy, Surroundings], Found]]] = {
    "excluded-cache": (Severity.DANGER, _excluded_cache),
    "nested-directories": (Severity.WARNING, _nested),
    "unpinned-model": (Severity.WARNING, _unpinned),
    "mixed-retention": (Severity.WARNING, _mixed_classes),
    "written-secret": (Severity.WARNING, _written_secret),
    "open-secret-file": (Severity.WARNING, _open_secret_file),
    "unplanned-source": (Severity.WARNING, _unplanned),
    "short-lock": (Severity.DANGER, _short_lock),
    "single-copy": (Severity.INFO, _single_copy),
    "unapprovable": (Severity.INFO, _unapprovable),
}
