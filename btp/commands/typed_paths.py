"""Paths on the command line, whatever is in their names."""

from __future__ import annotations

import re
import sys


def take_paths_as_typed(*keys: str) -> None:
    """Quote the values of `keys` on the command line for Hydra.

    Unquoted, its grammar refuses letters beyond ASCII, brackets, `~` and `=`, and takes a comma for
    a list; file names have them all.
    """
    sys.argv[1:] = [_quoted(argument, keys) for argument in sys.argv[1:]]


def _quoted(argument: str, keys: tuple[str, ...]) -> str:
    key, _, value = argument.partition("=")
    if key not in keys or value in ("", "null") or re.fullmatch(r"'.*'|\".*\"", value):
        return argument
    # Hydra reads backslashes as they are, but for those before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + (m[2] and r"\'"), value)
    return f"{key}='{escaped}'"
