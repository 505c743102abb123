"""Keys: the only user of ``cryptography``."""
