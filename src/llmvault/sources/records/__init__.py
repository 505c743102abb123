"""Records captures: every point of a store in files that need no store to be read.

The format is specified in ``docs/formats/records.md``. Drivers give and take points
(:class:`~llmvault.sources.interface.ExportsRecords`,
:class:`~llmvault.sources.interface.ImportsRecords`); everything else is here, for all of them.
"""
