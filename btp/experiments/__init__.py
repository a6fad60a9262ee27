"""Runs on disk, what the paper's tables need, and doing it."""
