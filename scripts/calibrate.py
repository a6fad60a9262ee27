"""Set alarm thresholds by good scans: `python scripts/calibrate.py normal=DIR`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("calibrate")
