"""Compares bundles, from what lies in them: what changed, by how much, and whether it is shown to be worse."""
