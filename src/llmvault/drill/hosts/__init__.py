"""Scratch hosts: where a drill restores to, behind one interface."""
