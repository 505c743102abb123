"""Every engine there is, by the ``kind`` that policies name; imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from llmvault.drill.engines.interface import Engine, EnginePorts
from llmvault.policy import engines as policy

ENGINES: Mapping[str, tuple[str, str]] = {
    "llamacpp": ("llmvault.drill.engines.llamacpp", "LlamaCpp"),
    "transformers": ("llmvault.drill.engines.transformers", "Transformers"),
    "openai": ("llmvault.drill.engines.openai", "OpenAI"),
}


def build_engine(name: str, config: policy.Engine, ports: EnginePorts) -> Engine:
    """Return the engine that a policy declares under `name`; nothing is started."""
    module, driver = ENGINES[config.kind]
    return cast(Engine, getattr(import_module(module), driver)(name, config, ports))
