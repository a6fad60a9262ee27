"""Weight files as bytes: download, verify, cut, state dicts, and what wrong files look like."""
