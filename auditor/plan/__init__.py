"""Resolves a policy and a subject into a plan."""
