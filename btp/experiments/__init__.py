"""The runs that the paper's tables need: planned, trained, scored, and kept as records."""
