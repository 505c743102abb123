"""Legal holds: what is held is not deleted, whatever any rule says."""
