"""List, get and convert weights: see configs/weights.yaml."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("weights")
