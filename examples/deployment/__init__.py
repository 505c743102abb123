"""A small but real LLM deployment, made on one machine without a GPU, to try llmvault on."""
