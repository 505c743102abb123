"""ZFS datasets, captured as the streams that ``zfs send`` writes."""

from llmvault.sources.zfs_stream.store import ZfsStream

__all__ = ["ZfsStream"]
