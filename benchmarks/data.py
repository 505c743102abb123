"""What is measured on: a sharded BF16 model and many small files, made anew with fixed seeds."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

SHARDS = 4
SMALL_FILES = 5_000
_ROW = 4096


def make_tree(root: Path, *, size: int) -> None:
    """Make a model directory of `size` bytes of weights in four shards, and 5,000 small files."""
    root.mkdir(parents=True)
    weights: dict[str, str] = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        tensor = f"layers.{shard}.weight"
        write_shard(root / name, tensor, size // SHARDS, seed=shard)
        weights[tensor] = name
    index = {"metadata": {"total_size": size}, "weight_map": weights}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    (root / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (root / "tokenizer.json").write_text("{}")
    _small_files(root / "files")


def write_shard(path: Path, tensor: str, size: int, *, seed: int) -> None:
    """Write one safetensors file of about `size` bytes of Gaussian BF16 weights."""
    rows = size // (2 * _ROW)
    span = rows * _ROW * 2
    entry = {"dtype": "BF16", "shape": [rows, _ROW], "data_offsets": [0, span]}
    header = json.dumps({tensor: entry}).encode()
    header += b" " * (-len(header) % 8)
    generator = np.random.default_rng(seed)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        for start in range(0, rows, 1024):
            count = min(1024, rows - start)
            floats = generator.standard_normal((count, _ROW), dtype=np.float32) * 0.02
            stream.write((floats.view(np.uint32) >> 16).astype("<u2").tobytes())


def _small_files(root: Path) -> None:
    generator = np.random.default_rng(99)
    for number in range(SMALL_FILES):
        place = root / f"{number // 100:02d}"
        place.mkdir(parents=True, exist_ok=True)
        content = generator.bytes(int(generator.integers(200, 4000)))
        (place / f"{number:04d}.txt").write_bytes(content)
