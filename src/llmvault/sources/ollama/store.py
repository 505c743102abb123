"""The driver of Ollama's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import Capture, Finding, Observation, SourcePorts, TreeCapture
from llmvault.sources.models.comparison import weights_checks
from llmvault.sources.ollama.blobs import (
    LARGEST_HASHED,
    MODEL_TYPE,
    blob_findings,
    corrupt_findings,
    leftover_findings,
    read_weights,
)
from llmvault.sources.ollama.layout import Model, Models, layers_of, models_directory, read_models
from llmvault.sources.ollama.names import ModelName, name_of_path, parse_name
from llmvault.sources.walk import Tree, existing_root, read_tree

if TYPE_CHECKING:
    from llmvault.policy.sources import OllamaSource


class OllamaModels:
    """The models of an Ollama installation, all of them or those that the policy names.

    A capture holds manifests and the blobs that they name, and no others; restored, the directory
    is one that ``OLLAMA_MODELS`` may name.
    """

    kind: ClassVar[str] = "ollama"

    def __init__(self, name: str, config: OllamaSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the directory that the policy names."""
        return str(self._config.path)

    def place(self) -> Path:
        """Return the directory."""
        return self._config.path

    def seen_at(self, place: Path) -> OllamaModels:
        """Return the same source, read at another place."""
        config = self._config.model_copy(update={"path": place})
        return OllamaModels(self.name, config, self._ports)

    def observe(self) -> Observation:
        """Read manifests, hash small blobs, read the header of every GGUF.

        Raises:
            UnavailableError: when the directory does not exist or holds no model.
            RefusedError: when a demanded model is absent, or not the pinned one.
        """
        tree, found = self._read()
        chosen = self._chosen(found)
        reading, facts = read_weights(tree, chosen)
        findings = (
            *tree.findings,
            *self._manifest_findings(found),
            *self._unpinned(),
            *blob_findings(tree, chosen),
            *corrupt_findings(tree, layers_of(chosen).values()),
            *reading.findings,
            *leftover_findings(tree, found.models.values()),
        )
        details = {"models": _inventory(chosen), "weights": reading.summaries()}
        return Observation(findings=findings, models=facts, details=details)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield manifests and blobs in place, with the digests that the blobs' names claim."""
        tree, found = self._read()
        chosen = self._chosen(found)
        there = {path for model in chosen for path in model.paths() if path in tree.by_path}
        layers = layers_of(chosen)
        yield TreeCapture(
            root=tree.root,
            paths=tuple(sorted(there)),
            known_sha256={path: layers[path].digest for path in sorted(there & layers.keys())},
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare restored models with the recorded ones.

        Checks: ``manifests`` (each model's has the recorded digest), ``blobs`` (each is there, of
        the promised size, small ones with the digest in their name), ``headers`` and ``inventory``
        (weights). That large blobs hash to their names is proven by the digests.
        """
        expected = recorded.details.get("models")
        if not isinstance(expected, Mapping) or not expected:
            detail = "the recovery point records no model"
            return (Check("manifests", self.name, Verdict.UNPROVEN, detail),)
        root = existing_root(restored, self.name)
        tree = read_tree(models_directory(root), self.name)
        found = read_models(tree)
        models = [model for model in found.models.values() if _shown(model) in expected]
        reading, _ = read_weights(tree, models)
        blobs = _blobs_check(self.name, tree, models)
        checks = [_manifests_check(self.name, expected, models), blobs]
        if recorded.details.get("weights") or reading.weights or reading.findings:
            findings = (*tree.findings, *reading.findings)
            checks.extend(weights_checks(self.name, recorded, reading.summaries(), findings))
        return tuple(checks)

    def model_path(self, root: Path, model: str) -> Path:
        """Return the GGUF of a model, named as for ``ollama run``.

        Raises:
            RefusedError: when it is no name of a model.
            UnavailableError: when it is not there, or has no GGUF.
        """
        thing = f'model "{printable(model)}"'
        try:
            name = parse_name(model)
        except ValueError as error:
            raise RefusedError(thing, "it is no name of a model", str(error)) from error
        tree = read_tree(models_directory(existing_root(root, self.name)), self.name)
        found = read_models(tree).models.get(name)
        if found is None:
            raise UnavailableError(
                thing,
                f'it is not in the files of source "{self.name}"',
                "name it like `ollama list` does",
            )
        paths = [layer.path for layer in found.layers if layer.media_type == MODEL_TYPE]
        if not paths or paths[0] not in tree.by_path:
            raise UnavailableError(
                thing, "it has no GGUF that an engine could load", "have Ollama itself load it"
            )
        return tree.root / paths[0]

    def _read(self) -> tuple[Tree, Models]:
        config = self._config
        directory = models_directory(existing_root(config.path, self.name))
        tree = read_tree(
            directory, self.name, exclude=config.exclude, exclude_caches=config.exclude_caches
        )
        found = read_models(tree)
        if not found.models and not found.findings:
            raise UnavailableError(
                f'source "{self.name}"',
                f"{config.path} holds no manifest of a model, neither itself nor in models/",
                "give the folder that OLLAMA_MODELS names, by default ~/.ollama/models",
            )
        return tree, found

    def _chosen(self, found: Models) -> tuple[Model, ...]:
        if not self._config.models:
            return tuple(sorted(found.models.values(), key=_shown))
        return tuple(self._demanded(found, one.name, one.digest) for one in self._config.models)

    def _demanded(self, found: Models, text: str, digest: str | None) -> Model:
        thing = f'model "{printable(text)}" of source "{self.name}"'
        model = found.models.get(self._name(text))
        if model is None:
            self._refuse_broken(found, text, thing)
            known = ", ".join(sorted(map(_shown, found.models.values()))) or "none"
            raise RefusedError(thing, "it is not there", f"pull it, or name one of {known}")
        if digest and not model.digest.startswith(digest):
            raise RefusedError(
                thing,
                f"its manifest has the digest {model.digest}, not the pinned {digest}",
                "pull the pinned version again, or pin the new one",
            )
        return model

    def _refuse_broken(self, found: Models, text: str, thing: str) -> None:
        for finding in found.findings:
            if name_of_path(finding.path.partition("/")[2]) == self._name(text):
                raise IntegrityError(
                    thing, f"its manifest {finding.path} is bad: {finding.detail}", "pull it again"
                )

    def _name(self, text: str) -> ModelName:
        try:
            return parse_name(text)
        except ValueError as error:
            raise PolicyError(
                f'model "{printable(text)}" of source "{self.name}"',
                "it is no name of a model",
                str(error),
            ) from error

    def _manifest_findings(self, found: Models) -> Iterator[Finding]:
        """Yield what is wrong with manifests; of models that nobody asked for it is told only."""
        for finding in found.findings:
            if self._config.models:
                yield Finding(finding.name, finding.path, finding.detail, "warning")
            else:
                yield finding

    def _unpinned(self) -> Iterator[Finding]:
        for model in self._config.models:
            if not model.digest:
                detail = "a tag may mean another model tomorrow; put its digest into the policy"
                yield Finding("model-not-pinned", printable(model.name), detail, "warning")


def _shown(model: Model) -> str:
    return printable(model.name.short())


def _inventory(models: Iterable[Model]) -> dict[str, Any]:
    return {
        _shown(model): {
            "manifest": model.digest,
            "blobs": {
                layer.digest: {"size": layer.size, "type": layer.media_type}
                for layer in model.layers
            },
        }
        for model in models
    }


def _manifests_check(source: str, expected: Mapping[str, Any], models: Iterable[Model]) -> Check:
    found = {_shown(model): model.digest for model in models}
    wrong = [name for name in expected if found.get(name) != expected[name]["manifest"]]
    if wrong:
        detail = f"{len(wrong)} of {len(expected)} models do not have the recorded manifest"
        return Check("manifests", source, Verdict.FAILED, f"{detail}, e.g. {wrong[0]}")
    detail = f"{len(expected)} models have the recorded manifests"
    return Check("manifests", source, Verdict.PROVEN, detail)


def _blobs_check(source: str, tree: Tree, models: Iterable[Model]) -> Check:
    models = list(models)
    layers = layers_of(models)
    findings = [*blob_findings(tree, models), *corrupt_findings(tree, layers.values())]
    if findings:
        unread = all(found.severity == "unproven" for found in findings)
        detail = f"{len(findings)} blobs are wrong, e.g. {findings[0].path}: {findings[0].detail}"
        return Check("blobs", source, Verdict.UNPROVEN if unread else Verdict.FAILED, detail)
    if not layers:
        return Check("blobs", source, Verdict.UNPROVEN, "there is no blob to look at")
    detail = (
        f"{len(layers)} blobs are there with their sizes, those up to "
        f"{LARGEST_HASHED >> 20} MiB with the digests in their names"
    )
    return Check("blobs", source, Verdict.PROVEN, detail)
