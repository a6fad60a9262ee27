"""scores.csv, and what of an unfinished run may take its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from btp.errors import DataError
from btp.inspect import score_table
from btp.inspect.outputs import ScanResult
from btp.inspect.score_table import ScoreTable


def full(path: Path, text: str) -> None:
    raise DataError(f"{path}: writing failed (No space left on device); nothing was changed")


def test_on_a_full_disk_the_own_unfinished_table_becomes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, result = ScoreTable(tmp_path), ScanResult("scan.ply", object_score=0.5)
    table.begin()
    table.add(result)
    monkeypatch.setattr(score_table, "write_text", full)
    table.finish([result])
    assert "scan.ply" in table.path.read_text()
    assert not table.unfinished.exists()


def test_on_a_full_disk_another_run_s_unfinished_table_never_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where shards are merged: that table was not begun here."""
    table = ScoreTable(tmp_path)
    table.path.write_text("older")
    table.unfinished.write_text("of another run")
    monkeypatch.setattr(score_table, "write_text", full)
    with pytest.raises(DataError, match="No space left"):
        table.finish([])
    assert (table.path.read_text(), table.unfinished.read_text()) == ("older", "of another run")
