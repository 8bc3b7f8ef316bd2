"""A plug-in that cannot be imported: it has to become a row of the plan."""

raise ImportError("acme's licence has expired")
