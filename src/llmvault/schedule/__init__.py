"""Work by the clock: which jobs a policy asks for, when each is due, and running them once."""
