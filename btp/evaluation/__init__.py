"""Scoring a category with a detector or a baseline, and its metrics."""
