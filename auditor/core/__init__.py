"""Values that cross a stage, and the little arithmetic they carry."""
