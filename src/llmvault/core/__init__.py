"""Ports and small values that everything stands on; standard library only."""
