"""Telling people and monitoring systems."""
