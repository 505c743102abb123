"""Recovery points: the manifest, where they are kept, how they are found again."""
