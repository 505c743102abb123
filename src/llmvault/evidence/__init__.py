"""Evidence: signed bundles for people who trust neither llmvault nor its operator."""
