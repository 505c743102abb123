"""llmvault's own tamper-evident record of what it did."""
