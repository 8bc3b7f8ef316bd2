"""Tests for language models."""
