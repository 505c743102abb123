"""People, and what they approve before it is done."""
