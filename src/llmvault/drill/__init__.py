"""Proving that a recovery point works: restore it on a scratch host and make the model answer."""
