"""Make a small LoRA adapter of the embedding model: a folder as the PEFT library writes it.

The numbers are arbitrary but fixed. What matters for a backup is the tie to the base model, which
is named in `adapter_config.json`.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from examples.deployment import facts

_RANK = 4
_LAYERS = 6
_TARGETS = ("query", "value")
_SEED = 20240229


def make(folder: Path) -> None:
    """Write the adapter's two files and its card into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(_config(), indent=2) + "\n")
    card = f"Adapter of `{facts.REPO_ID}` at commit `{facts.COMMIT}`.\n"
    (folder / "README.md").write_text(card)


def _config() -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": facts.REPO_ID,
        "revision": facts.COMMIT,
        "r": _RANK,
        "lora_alpha": 2 * _RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_TARGETS),
        "inference_mode": True,
    }


def _tensors() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(_SEED)
    width = facts.EMBEDDING_DIMENSIONS
    shapes = {"lora_A": (_RANK, width), "lora_B": (width, _RANK)}
    return {
        f"base_model.model.encoder.layer.{layer}.attention.self.{target}.{part}.weight": (
            0.02 * random.standard_normal(shape, dtype=np.float32)
        )
        for layer in range(_LAYERS)
        for target in _TARGETS
        for part, shape in shapes.items()
    }
