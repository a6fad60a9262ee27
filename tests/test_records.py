"""Weight files are verified against what was recorded of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from btp.errors import WeightsError
from btp.weights.records import Record, read_record, record_path, verify, write_record

CONTENT = b"weights" * 1000


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    path.write_bytes(CONTENT)
    write_record(path, "owner/name", "mark")
    return path


def test_a_record_tells_size_hash_and_source(recorded: Path) -> None:
    expected = Record(
        len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(),
        "owner/name",
        "mark",
        recorded.stat().st_mtime_ns,
    )
    assert read_record(recorded) == expected
    assert verify(recorded) == expected
    recorded.unlink()
    assert read_record(recorded) == expected  # outlives the file


def test_files_without_a_record_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert verify(tmp_path / "file") is None


@pytest.mark.parametrize("content", [CONTENT[:-1], b"W" + CONTENT[1:]])
def test_a_changed_file_is_refused(recorded: Path, content: bytes) -> None:
    recorded.write_bytes(content)
    os.utime(recorded, ns=(1, 1))
    with pytest.raises(WeightsError) as error:
        verify(recorded)
    message = str(error.value)
    assert f"found {len(content):,} bytes" in message
    assert (
        f"expected {len(CONTENT):,} bytes, sha256 {hashlib.sha256(CONTENT).hexdigest()}" in message
    )
    assert "python scripts/weights.py fetch=" in message


def test_a_file_of_the_same_time_is_read_only_thoroughly(recorded: Path) -> None:
    time = recorded.stat().st_mtime_ns
    recorded.write_bytes(b"W" + CONTENT[1:])
    os.utime(recorded, ns=(time, time))
    verify(recorded)
    with pytest.raises(WeightsError, match="not the file that was recorded"):
        verify(recorded, thoroughly=True)


def test_a_copy_is_read_once(recorded: Path) -> None:
    os.utime(recorded, ns=(5, 5))
    found = verify(recorded)
    assert found is not None
    kept = read_record(recorded)
    assert kept is not None
    assert kept.modified == 5


def test_a_damaged_record_is_named(recorded: Path) -> None:
    record_path(recorded).write_text("{")
    with pytest.raises(WeightsError, match=r"file\.safetensors\.json: not a record.*delete it"):
        verify(recorded)
