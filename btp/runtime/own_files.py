"""Where the settings and weights are that come with the code, and how its commands are typed."""

from __future__ import annotations

import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries them inside of the package; in a checkout they stand beside it.
_ROOT = _PACKAGE if (_PACKAGE / "checkpoints").is_dir() else _PACKAGE.parent


def own_file(path: str | Path) -> Path:
    """Return where one of the project's own files or folders is, such as "checkpoints/mini"."""
    return _ROOT / path


def command_line(name: str, *settings: str) -> str:
    """Return the line that a person types to run one of the project's commands.

    In a checkout that is a script of scripts/; an installed package has the command `btp` only.

    Args:
        name: of the command, such as "predict".
        settings: as Hydra reads them, such as "input=scan.ply".
    """
    script = _ROOT / "scripts" / f"{name}.py"
    program = ["python", f"scripts/{name}.py"] if script.is_file() else ["btp", name]
    return shlex.join([*program, *settings])
