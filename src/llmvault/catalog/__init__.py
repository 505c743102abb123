"""What this installation knows: an index that can be rebuilt from the repositories."""
