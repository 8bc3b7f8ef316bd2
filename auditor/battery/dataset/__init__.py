"""Tests of the training data alone: they ask no model."""
