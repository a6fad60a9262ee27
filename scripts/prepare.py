"""Sample and encode a dataset into the feature store: `python scripts/prepare.py dataset=demo`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("prepare")
