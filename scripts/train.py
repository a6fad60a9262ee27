"""Train on one category: `python scripts/train.py dataset=real3d train_cat=gemstone`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("train")
