"""Is this installation able to do its work? Each answer comes with the next step."""
