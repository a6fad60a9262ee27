"""Fetch public meshes for the pretraining: `python scripts/meshes.py`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("meshes")
