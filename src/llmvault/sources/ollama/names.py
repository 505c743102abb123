"""Names of models as Ollama's users write them: ``[host/][namespace/]model[:tag]``. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_HOST = "registry.ollama.ai"
_HOSTS = frozenset({_HOST, "ollama.com"})
_NAMESPACE = "library"
_TAG = "latest"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A whole name, with everything that may be left out filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    def short(self) -> str:
        """Return the name as ``ollama list`` shows it."""
        text = f"{self.model}:{self.tag}"
        if self.host != _HOST:
            return f"{self.host}/{self.namespace}/{text}"
        return text if self.namespace == _NAMESPACE else f"{self.namespace}/{text}"


def parse_name(text: str) -> ModelName:
    """Return the whole name that a text stands for.

    Raises:
        ValueError: when it is no name of a model.
    """
    before, slash, last = text.rpartition("/")
    model, _, tag = last.partition(":")
    host, _, namespace = before.rpartition("/")
    name = _named(host or _HOST, namespace if slash else _NAMESPACE, model, tag or _TAG)
    if name is None:
        raise ValueError("write it like llama3.2:1b, name:tag, namespace/name:tag")
    return name


def name_of_path(path: str) -> ModelName | None:
    """Return the name of a manifest ``HOST/NAMESPACE/MODEL/TAG``; None when it is none."""
    parts = path.split("/")
    return _named(*parts) if len(parts) == 4 else None


def _named(host: str, namespace: str, model: str, tag: str) -> ModelName | None:
    parts = (namespace, model, tag)
    if any(not part or part.startswith(".") or "/" in part for part in (host, *parts)):
        return None
    return ModelName(_HOST if host in _HOSTS else host, *parts)
