"""Files written so that nobody ever sees half of one, and told apart by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from btp.errors import DataError

_BLOCKS = 8
"""Blocks by which a large file is known."""
_BLOCK = 8192
"""Bytes of each of them."""


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
    """Return the bytes of a file; 0 if it is not there."""
    return path.stat().st_size if path.is_file() else 0


def file_digest(path: Path) -> str:
    """Return 32 hexadecimal digits that change with the content of a file.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from error


class FileSketches:
    """Tells files apart without reading large ones whole, each once as long as it stays as it is.

    A sketch is a hash of the size and of eight blocks from the first byte to the last, so that it
    is the same on every machine. A change between the blocks that keeps the size is not seen.
    """

    def __init__(self) -> None:
        """Know no file yet."""
        self._known: dict[tuple[Path, bool], tuple[tuple[int, int], str]] = {}

    def sketch(self, path: Path, whole: bool = False) -> str:
        """Return 32 hexadecimal digits that differ for different files.

        Args:
            path: of the file.
            whole: read all of it, so that every change is seen.

        Raises:
            OSError: if it cannot be read.
        """
        status = path.stat()
        state = status.st_size, status.st_mtime_ns  # tells whether what was read still holds
        known = self._known.get((path, whole))
        if known is None or known[0] != state:
            known = state, _sketch(path, whole, status.st_size)
            self._known[path, whole] = known
        return known[1]


def _sketch(path: Path, whole: bool, size: int) -> str:
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
    """Write bytes as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_atomically` does."""
    write_bytes(path, text.encode())
