"""Models as they lie on disk, wherever they lie: shared by every source that holds any."""
