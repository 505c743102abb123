"""The models of an Ollama installation."""

from llmvault.sources.ollama.store import OllamaModels

__all__ = ["OllamaModels"]
