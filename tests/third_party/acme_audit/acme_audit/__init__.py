"""Tests of the Acme company."""
