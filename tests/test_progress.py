"""Progress on a terminal, in a log file, and of jobs that stop."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from btp.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Progress("scoring", 3).over("abc")) == ["a", "b", "c"]
    assert re.fullmatch(r"scoring: 3 scans in \d s\n", capsys.readouterr().err)


def test_a_job_that_stops_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Progress("train", 2000, "epoch", first=5) as progress:
        progress.update(1000, loss="0.5")
        raise KeyError
    progress.close()
    expected = r"train: 1,005 of 2,000 epochs in \d s, loss 0\.5\n"
    assert re.fullmatch(expected, capsys.readouterr().err)


@pytest.mark.parametrize(("total", "show"), [(0, True), (3, False)])
def test_nothing_to_do_or_to_show(
    total: int, show: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(Progress("scoring", total, show=show).over(range(total))) == list(range(total))
    assert capsys.readouterr().err == ""


def test_what_was_found_done_leaves_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    Progress("prepare", 3, passing=True).close()
    assert capsys.readouterr().err == ""
    with Progress("prepare", 3, passing=True):
        clock[0] = 2.0
    assert capsys.readouterr().err == "prepare: 0 of 3 scans in 2 s\n"


def test_a_terminal_gets_the_count_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("scoring", 4) as progress:
        progress.update(2)
        progress._bar.refresh()
        progress.update(2)
    shown = terminal.getvalue()
    assert re.search(r"scoring:  50%.* 2/4 \[\d\d:\d\d<\d\d:\d\d", shown)
    assert "scoring: 100%" in shown and "scans in" not in shown
