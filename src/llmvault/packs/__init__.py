"""Packs: large files written into a local repository in restic's own format, faster than restic."""
