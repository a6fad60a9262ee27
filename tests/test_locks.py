"""A lock that one process at a time holds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from btp.errors import DataError
from btp.runtime.locks import locked


def test_one_at_a_time_works_and_no_file_stays(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "folder" / ".lock", [], []

    def work(number: int) -> None:
        for _ in range(20):
            with locked(path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert list(path.parent.iterdir()) == []


def test_what_a_killed_process_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with locked(tmp_path / ".lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lock = locked(tmp_path / "file" / "a" / ".lock")
    with pytest.raises(DataError, match=r"file/a: cannot write here \(Not a directory\)"), lock:
        pass
