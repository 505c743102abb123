"""Locks of a repository's objects: how long they hold, making them longer, undoing a deletion."""
