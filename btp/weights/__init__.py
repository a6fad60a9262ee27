"""Weights: what is published, fetching and verifying it, and models and detectors on disk."""
