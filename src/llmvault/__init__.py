"""llmvault: backup, recovery drills and compliance governance for self-hosted LLM deployments."""

__version__ = "0.1.0"
