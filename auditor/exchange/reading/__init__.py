"""Readers of what other tools write, one a format."""
