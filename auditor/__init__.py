"""Audits what a trained model remembers of the people and works in its training data."""

__version__ = "0.1.0"
