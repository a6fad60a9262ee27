"""What each switch of a recipe gains on train categories: `python scripts/gains.py`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("gains")
