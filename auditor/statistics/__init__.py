"""Numbers in, numbers out: intervals, tests, curves, smallest effects. Knows nothing of the rest."""
