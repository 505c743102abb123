"""How results look: one module per command, for people as tables and for programs as JSON."""
