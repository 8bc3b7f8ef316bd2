"""Findings and statements, clause by clause."""
