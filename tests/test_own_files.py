"""The command lines that messages name."""

from __future__ import annotations

from pathlib import Path

import pytest

from btp.runtime import own_files
from btp.runtime.own_files import command_line


def test_a_checkout_has_scripts_and_a_wheel_the_command_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command_line("predict", "input=my scan") == "python scripts/predict.py 'input=my scan'"
    monkeypatch.setattr(own_files, "_ROOT", tmp_path)  # where a wheel keeps settings and weights
    assert command_line("predict", "input=my scan") == "btp predict 'input=my scan'"
