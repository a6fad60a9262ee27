"""Write a detector as an ONNX file: `python scripts/export.py detector=mini out=mini.onnx`."""

from btp.commands.entry import script

if __name__ == "__main__":
    script("export")
