"""Running a script in this process, as its command line does: a process takes seconds to start."""

from __future__ import annotations

import gc
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from btp.commands import config_files


def run_script(project: Path, script: str, *settings: str) -> object:
    """Run a script of a project, which is the working folder.

    Args:
        project: its folder.
        script: its name in scripts/.
        settings: of the command line.

    Returns:
        Its exit code.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_files, "CONFIGS", project / "configs")
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        patch.setattr(sys, "argv", [f"scripts/{script}", *settings])
        gc.freeze()  # what the tests hold is nothing for the benchmark to look through each time
        try:
            runpy.run_path(f"scripts/{script}", run_name="__main__")
        except SystemExit as end:
            return end.code or 0
        finally:
            gc.unfreeze()
    return 0
