"""Files are told apart by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from btp.runtime import files
from btp.runtime.files import FileSketches


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
