"""The restic engine: argv and output as pure functions, one class that runs it."""
