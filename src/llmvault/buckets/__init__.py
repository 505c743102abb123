"""Buckets as declared: compare, set up, read back, and try to break."""
