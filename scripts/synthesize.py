"""Put defects on your own meshes: `python scripts/synthesize.py source=DIR out=DIR`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("synthesize")
