"""Do the parts of a policy fit each other: names that must exist, choices that exclude each other.

Works on the tree rather than on the models, so that it can speak even where some field is wrong.
A value of the wrong type is passed over here; the models tell of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from llmvault.policy.problems import Problem, problem
from llmvault.policy.tree import Keys, Node, at
from llmvault.policy.wording import did_you_mean

_HOLD_MODELS = frozenset({"hf_cache", "model_dir", "ollama"})
_SERVERS = frozenset({"elasticsearch", "opensearch", "weaviate", "qdrant", "redis", "milvus"})
_CAN_BE_SEARCHED = frozenset({"chroma", "postgres", "sqlite", "lancedb", "faiss"} | _SERVERS)
_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})  # what the models take for true
_STANDARD_CLASS = "standard"  # what a repository is of when it does not say
_NAMED_BY_JOBS = {
    "plans": "plans",
    "classes": "retention",
    "targets": "notify",
    "only_in": "windows",
    "never_in": "windows",
}
_QUESTIONS = {"completion": "prompts", "embedding": "texts", "neighbours": "queries"}


def reference_problems(whole: Node) -> Iterator[Problem]:
    """Yield what does not fit together."""
    for name, source in _section(whole, "sources"):
        yield from _source(whole, ("sources", name), source)
    for name, repository in _section(whole, "repositories"):
        yield from _copy(whole, ("repositories", name), repository)
    for name, engine in _section(whole, "engines"):
        keys = ("engines", name)
        yield from _named(whole, engine, (*keys, "source"), "sources", _HOLD_MODELS)
    for name, golden in _section(whole, "goldens"):
        yield from _golden(whole, ("goldens", name), golden)
    for name, plan in _section(whole, "plans"):
        yield from _plan(whole, ("plans", name), plan)
    for name, kept in _section(whole, "retention"):
        yield from _retention(whole, ("retention", name), kept)
    prune = at(whole, "ledger", "prune")
    if prune is not None:
        yield from _named(whole, prune, ("ledger", "prune", "approval"), "approvals")
    for name, job in _section(whole, "jobs"):
        yield from _job(whole, ("jobs", name), job)
    for name, target in _section(whole, "notify"):
        yield from _target(whole, ("notify", name), target)


def _retention(whole: Node, keys: Keys, kept: Node) -> Iterator[Problem]:
    default = _STANDARD_CLASS
    used = {
        _text(repository, "retention_class") or default
        for _, repository in _section(whole, "repositories")
    }
    if keys[1] not in used:
        message = f"no repository is of this class; there are {', '.join(sorted(used)) or 'none'}"
        yield problem(kept.start, keys, message)
    yield from _named(whole, kept, (*keys, "approval"), "approvals")


def _section(whole: Node, name: str) -> Iterable[tuple[str, Node]]:
    section = whole.entries.get(name)
    return section.entries.items() if section else ()


def _copy(whole: Node, keys: Keys, repository: Node) -> Iterator[Problem]:
    """Yield what is wrong with a repository that is filled from another one."""
    yield from _named(whole, repository, (*keys, "copy_of"), "repositories")
    original = repository.entries.get("copy_of")
    if original is None or not _text(repository, "copy_of"):
        return
    first = at(whole, "repositories", str(original.value))
    if original.value == keys[-1] or (first is not None and _given(first, "copy_of")):
        message = "is a copy itself; name the repository that backups write to"
        yield problem(original.place, (*keys, "copy_of"), message)
    for plan, declared in _section(whole, "plans"):
        listed = declared.entries.get("repositories")
        for index, one in enumerate(listed.elements if listed else ()):
            if one.value == keys[-1]:
                message = f'is filled from "{original.value}", not by backups; take it out here'
                yield problem(one.place, ("plans", plan, "repositories", index), message)


def _source(whole: Node, keys: Keys, source: Node) -> Iterator[Problem]:
    kind = _text(source, "kind")
    if kind == "chroma" and _given(source, "path") == _given(source, "url"):
        both = "not both" if _given(source, "path") else "there is neither"
        message = f"give either path (a directory) or url (a running server); {both}"
        yield problem(source.start, keys, message)
    base = _text(source, "base_model")
    if kind == "model_dir" and base and "/" not in base:
        yield from _named(whole, source, (*keys, "base_model"), "sources", _HOLD_MODELS)


def _golden(whole: Node, keys: Keys, golden: Node) -> Iterator[Problem]:
    kind = _text(golden, "kind")
    yield from _named(whole, golden, (*keys, "engine"), "engines")
    if kind == "neighbours":
        yield from _named(whole, golden, (*keys, "source"), "sources", _CAN_BE_SEARCHED)
    if kind in _QUESTIONS:
        yield from _questions(keys, golden, _QUESTIONS[kind])
        yield from _engine_fits(whole, keys, golden, kind)


def _questions(keys: Keys, golden: Node, field: str) -> Iterator[Problem]:
    listed, file = golden.entries.get(field), golden.entries.get(f"{field}_file")
    if (listed is None or listed.value == []) and not _given(golden, f"{field}_file"):
        yield problem(golden.start, keys, f"asks nothing; give {field} or {field}_file")
    if file and isinstance(file.value, str) and not Path(file.value).is_file():
        message = f"the file {file.value} is not there; create it or correct the path"
        yield problem(file.place, (*keys, f"{field}_file"), message)


def _engine_fits(whole: Node, keys: Keys, golden: Node, kind: str) -> Iterator[Problem]:
    name = golden.entries.get("engine")
    engine = at(whole, "engines", str(name.value)) if name else None
    if name is None or engine is None:
        return
    embedding = engine.entries.get("embedding")
    embeds = embedding is not None and str(embedding.value).lower() in _TRUE
    if embeds != (kind != "completion"):
        verb = "answers prompts only; set embedding: true there" if not embeds else "embeds only"
        message = f'engine "{name.value}" ({engine.start}) {verb}, or name another engine'
        yield problem(name.place, (*keys, "engine"), message)


def _plan(whole: Node, keys: Keys, plan: Node) -> Iterator[Problem]:
    yield from _all_named(whole, plan.entries.get("sources"), (*keys, "sources"), "sources")
    yield from _all_named(
        whole, plan.entries.get("repositories"), (*keys, "repositories"), "repositories"
    )
    drill = plan.entries.get("drill")
    for field in ("engines", "goldens"):
        listed = drill.entries.get(field) if drill else None
        yield from _all_named(whole, listed, (*keys, "drill", field), field)
        for index, name in enumerate(listed.elements if listed else ()):
            yield from _covered(whole, (*keys, "drill", field, index), name, plan)


def _job(whole: Node, keys: Keys, job: Node) -> Iterator[Problem]:
    for field, section in _NAMED_BY_JOBS.items():
        yield from _all_named(whole, job.entries.get(field), (*keys, field), section)
    only, never = job.entries.get("only_in"), job.entries.get("never_in")
    allowed = {node.value for node in only.elements} if only else set()
    forbidden = {node.value for node in never.elements} if never else set()
    if only and allowed and allowed <= forbidden:
        yield problem(only.place, (*keys, "only_in"), "never opens: never_in forbids the same")


def _target(whole: Node, keys: Keys, target: Node) -> Iterator[Problem]:
    yield from _all_named(whole, target.entries.get("quiet"), (*keys, "quiet"), "windows")
    jobs = {name for name, _ in _section(whole, "jobs")}
    jobs |= {
        f"backup-{name}" for name, plan in _section(whole, "plans") if _given(plan, "schedule")
    }
    listed = target.entries.get("jobs")
    for index, name in enumerate(listed.elements if listed else ()):
        if isinstance(name.value, str) and name.value not in jobs:
            message = f'there is no job "{name.value}"; {did_you_mean(name.value, jobs)}'
            yield problem(name.place, (*keys, "jobs", index), message)


def _covered(whole: Node, keys: Keys, name: Node, plan: Node) -> Iterator[Problem]:
    """Yield a problem when a drill of the plan would need a source that the plan leaves out."""
    item = at(whole, str(keys[-2]), str(name.value))
    sources = plan.entries.get("sources")
    if item is None or sources is None:
        return
    if _text(item, "kind") in ("completion", "embedding"):
        item = at(whole, "engines", _text(item, "engine"))
    needed = _text(item, "source") if item else ""
    backed_up = [source.value for source in sources.elements]
    if needed and needed not in backed_up and at(whole, "sources", needed):
        message = (
            f'needs the source "{needed}", which this plan does not back up; add it to sources'
        )
        yield problem(name.place, keys, message)


def _all_named(whole: Node, listed: Node | None, keys: Keys, section: str) -> Iterator[Problem]:
    seen: set[object] = set()
    for index, name in enumerate(listed.elements if listed else ()):
        yield from _exists(whole, name, (*keys, index), section)
        if isinstance(name.value, str) and name.value in seen:
            yield problem(name.place, (*keys, index), "is named twice; remove one")
        seen.add(name.value if isinstance(name.value, str) else index)


def _named(
    whole: Node, holder: Node, keys: Keys, section: str, kinds: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    name = holder.entries.get(str(keys[-1]))
    if name is None or not isinstance(name.value, str):
        return
    yield from _exists(whole, name, keys, section)
    item = at(whole, section, name.value)
    kind = _text(item, "kind") if item else ""
    if kinds and kind and kind not in kinds:
        message = f'"{name.value}" is of kind {kind}; name one of kind {" or ".join(sorted(kinds))}'
        yield problem(name.place, keys, message)


def _exists(whole: Node, name: Node, keys: Keys, section: str) -> Iterator[Problem]:
    known = dict(_section(whole, section))
    if isinstance(name.value, str) and name.value not in known:
        message = f'there is no "{name.value}" in {section}; {did_you_mean(name.value, known)}'
        yield problem(name.place, keys, message)


def _text(node: Node, key: str) -> str:
    child = node.entries.get(key)
    return child.value if child and isinstance(child.value, str) else ""


def _given(node: Node, key: str) -> bool:
    child = node.entries.get(key)
    return child is not None and child.value is not None
