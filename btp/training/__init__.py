"""Training the heads on the annotated scans of one category."""
