"""Where the settings (configs/) and weights (checkpoints/) are that come with the code."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries them inside of the package; in a checkout they stand beside it.
_ROOT = _PACKAGE if (_PACKAGE / "checkpoints").is_dir() else _PACKAGE.parent


def own_file(path: str | Path) -> Path:
    """Return where one of the project's own files or folders is, such as "checkpoints/mini"."""
    return _ROOT / path
