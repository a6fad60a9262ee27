"""Score your own scans: `python scripts/predict.py input=FILE|DIR|GLOB`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("predict")
