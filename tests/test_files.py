"""Files are written whole, and told apart by their content."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from btp.errors import DataError
from btp.runtime import files
from btp.runtime.files import FileSketches, write_atomically, write_bytes


def test_a_large_file_is_told_apart_by_blocks_from_its_first_byte_to_its_last(
    tmp_path: Path,
) -> None:
    content = bytearray(1 << 20)
    path = tmp_path / "large"
    path.write_bytes(content)
    sketches = {FileSketches().sketch(path)}
    for changed in (0, len(content) // 7, len(content) - 1):
        other = content.copy()
        other[changed] = 1
        path = tmp_path / f"changed{changed}"
        path.write_bytes(other)
        sketches.add(FileSketches().sketch(path))
    path.write_bytes(content + b"\0")
    sketches.add(FileSketches().sketch(path))
    assert len(sketches) == 5


def test_a_file_is_sketched_again_only_when_it_was_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sketches, made = tmp_path / "a", FileSketches(), []
    real = files._sketch

    def counted(*given: object) -> str:
        made.append(given)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "_sketch", counted)
    path.write_bytes(b"one")
    first = sketches.sketch(path)
    assert sketches.sketch(path) == first
    assert len(made) == 1
    path.write_bytes(b"three")
    assert sketches.sketch(path) != first
    assert len(made) == 2


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_is_written_and_replaced_whole(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    longest = "n" * 255  # bytes that file systems allow
    for content in (b"one", b"two"):
        write_bytes(tmp_path / longest, content)
        assert written(tmp_path) == {longest: content}
    (tmp_path / "plain").touch()
    assert (tmp_path / longest).stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("nameless", [True, False])
def test_a_write_that_fails_leaves_the_older_file(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    write_bytes(tmp_path / "a", b"one")

    def stop(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"a: writing failed \(No space left on device\)"):
        write_atomically(tmp_path / "a", stop)
    assert written(tmp_path) == {"a": b"one"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder: writing failed \(Is a directory\)"):
        write_bytes(tmp_path / "folder", b"one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux's")
def test_what_a_killed_process_left_beside_a_file_goes_with_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(tmp_path / "a", b"one")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            write_bytes(tmp_path / "a", b"two")
    assert len(written(tmp_path)) == 2
    assert written(tmp_path)["a"] == b"one"
    write_bytes(tmp_path / "a", b"three")
    assert written(tmp_path) == {"a": b"three"}


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_bytes(tmp_path / "a", content), contents * 20))
    (left,) = written(tmp_path).values()
    assert left in contents
