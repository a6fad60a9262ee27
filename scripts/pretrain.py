"""Pretrain the embedded point-language model: `python scripts/pretrain.py`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("pretrain")
