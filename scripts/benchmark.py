"""Measure the plain way beside ours: `python scripts/benchmark.py only=metrics,prepare`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("benchmark")
