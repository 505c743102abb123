"""Measurements against plain restic; see ``scripts/bench``."""
