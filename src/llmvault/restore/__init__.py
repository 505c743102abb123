"""Bringing recovery points back, verified byte for byte."""
