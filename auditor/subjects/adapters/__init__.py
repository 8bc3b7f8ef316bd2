"""One module per way to open a model: the only place that imports a framework."""
