"""Taking recovery points: observe, plan, capture, read with restic, cross-check, record."""
