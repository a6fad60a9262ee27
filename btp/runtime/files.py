"""Writing files so that a reader, another process or a crash never sees half of one."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from btp.errors import DataError

_BLOCKS, _BLOCK = 8, 8192  # that a large file is known by, and bytes of each


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place.

    Args:
        path: its folder is made if need be; an older file stays until the new one is whole.
        write: gets the open binary file.

    Raises:
        DataError: if the folder cannot be written or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise DataError(
            f"{path}: cannot write here ({error.strerror}); choose another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp's files are private
        Path(name).replace(path)
    except OSError as error:
        raise DataError(
            f"{path}: writing failed ({error.strerror}); nothing was changed"
        ) from error
    finally:
        Path(name).unlink(missing_ok=True)


def file_size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    return path.stat().st_size if path.is_file() else 0


def file_digest(path: Path) -> str:
    """Changes with the content of a file: 32 hexadecimal digits.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from error


def file_sketch(path: Path, whole: bool = False) -> str:
    """Tells files apart without reading large ones whole: 32 hexadecimal digits.

    Of the size and of eight blocks from the first byte to the last, so that it is the same on every
    machine. A change between the blocks that keeps the size is not seen.

    Args:
        path: of the file.
        whole: read all of it, so that every change is seen.

    Raises:
        OSError: if it cannot be read.
    """
    status = path.stat()
    return _sketch(path, whole, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 16)
def _sketch(path: Path, whole: bool, size: int, written_ns: int) -> str:
    """The time of writing only tells whether what was read before still holds."""
    if whole:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    digest = hashlib.blake2b(f"{size} ".encode(), digest_size=16)
    last = max(0, size - _BLOCK)
    with path.open("rb") as file:
        for number in range(_BLOCKS):
            file.seek(last * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes in the same way."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in the same way."""
    write_bytes(path, text.encode())
