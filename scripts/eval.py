"""Score runs on the categories they have not seen, and print tables: `python scripts/eval.py`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("eval")
