"""The only callers of a subject, one module per kind of observation."""
