"""Secrets that a deployment needs, recorded without their values."""

from llmvault.sources.env_secrets.store import EnvSecrets

__all__ = ["EnvSecrets"]
