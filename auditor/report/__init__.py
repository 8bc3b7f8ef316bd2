"""Draws the report from findings and assessment; knows kinds of figures and no test."""
