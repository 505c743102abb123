"""Filesystem snapshots: taken before sources are read, held meanwhile, destroyed afterwards."""
