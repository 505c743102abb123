"""Small model folders in the layout of the Hugging Face Hub, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN = 16
_ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs -text\n"


def write_weights(path: Path, names: tuple[str, ...] = ("embed.weight", "lm_head.weight")) -> Path:
    """Write a safetensors file with a 8x16 float32 matrix for each name, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrices = {name: np.full((8, HIDDEN), place, np.float32) for place, name in enumerate(names)}
    save_file(matrices, path)
    return path


def write_model(folder: Path, *, shards: int = 1) -> Path:
    """Write weights, config, tokenizer and ``.gitattributes``, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitattributes").write_text(_ATTRIBUTES)
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    if shards == 1:
        write_weights(folder / "model.safetensors")
        return folder
    weight_map = {}
    for number in range(1, shards + 1):
        shard = f"model-{number:05d}-of-{shards:05d}.safetensors"
        write_weights(folder / shard, (f"layers.{number}.weight",))
        weight_map[f"layers.{number}.weight"] = shard
    index = {"metadata": {"total_size": shards * 8 * HIDDEN * 4}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_adapter(folder: Path, *, base: str) -> Path:
    """Write a LoRA adapter as PEFT saves it, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    write_weights(folder / "adapter_model.safetensors", ("lora_A.weight", "lora_B.weight"))
    return folder
