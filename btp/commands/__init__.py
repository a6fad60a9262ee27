"""The command lines: a module each, started by `btp NAME` or `python scripts/NAME.py`."""
