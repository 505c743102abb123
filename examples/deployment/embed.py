"""Compute sentence embeddings with the example's embedding model, through llama.cpp.

    python -m examples.deployment.embed DIR "restore drill" "verify a backup"

prints one JSON array of numbers per text; with two texts also their cosine.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.deployment import facts

_LONGEST_TEXT = 512
"""Tokens; the encoder needs a whole text in one batch."""
_TEXTS_PER_SERVER = 16
"""Fewer than this are not worth starting a second server for."""


def embed(model: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return one unit vector per text: an array of shape (len(texts), 384).

    Several single-threaded servers share the texts: on a busy machine llama.cpp's own threads wait
    for each other at every layer and become several times slower.
    """
    servers = max(1, min(4, os.cpu_count() or 1, len(texts) // _TEXTS_PER_SERVER))
    with ThreadPoolExecutor(servers) as pool:
        shares = list(pool.map(partial(_embed_share, model), _deal(texts, servers)))
    vectors = np.empty((len(texts), facts.EMBEDDING_DIMENSIONS), dtype=np.float32)
    for first, share in enumerate(shares):
        vectors[first::servers] = share
    return vectors


def _deal(texts: Sequence[str], hands: int) -> list[list[str]]:
    return [list(texts[first::hands]) for first in range(hands)]


def _embed_share(model: Path, texts: list[str]) -> NDArray[np.float32]:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.embedding = True
    parameters.warmup = False
    parameters.verbosity = -1
    parameters.n_parallel = 1
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = _LONGEST_TEXT
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    answer = xllamacpp.Server(parameters).handle_embeddings({"input": texts})
    return np.array([row["embedding"] for row in _rows(answer)], dtype=np.float32)


def _rows(answer: object) -> list[dict[str, list[float]]]:
    decoded = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
    if not isinstance(decoded, dict) or "data" not in decoded:
        raise RuntimeError(f"llama.cpp did not return embeddings: {decoded}")
    return sorted(decoded["data"], key=lambda row: row["index"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.deployment.embed")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the deployment's folder")
    parser.add_argument("text", nargs="+")
    options = parser.parse_args(arguments)
    vectors = embed(options.folder / facts.EMBEDDING_MODEL, options.text)
    for vector in vectors:
        print(json.dumps([round(float(number), 6) for number in vector]))
    if len(vectors) == 2:
        print(f"cosine {float(vectors[0] @ vectors[1]):.4f}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
