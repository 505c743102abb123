"""Copies of recovery points: made, read back in turn, and counted as 3-2-1-1-0."""
