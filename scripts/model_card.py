"""Measure the embedded model and write its card: `python scripts/model_card.py`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("model_card")
