"""Files written so that nobody ever sees half of one, and told apart by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from btp.errors import DataError

_BLOCKS = 8
"""Blocks by which a large file is known."""
_BLOCK = 8192
"""Bytes of each of them."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside `path`, then put it in `path`'s place.

    Where the operating system can, the new file has no name until it is whole: a process that is
    killed while it writes leaves nothing behind.

    Args:
        path: its folder is made if need be; an older file stays until the new one is whole.
        write: gets the open binary file.

    Raises:
        DataError: if the folder cannot be written or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, named = _open_new(path.parent)
    except OSError as error:
        raise DataError(
            f"{path}: cannot write here ({error.strerror}); choose another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            if named is None:
                _give_name(handle, path)
        if named is not None:
            named.replace(path)
    except OSError as error:
        raise DataError(
            f"{path}: writing failed ({error.strerror}); nothing was changed"
        ) from error
    finally:
        if named is not None:
            named.unlink(missing_ok=True)


def _open_new(folder: Path) -> tuple[int, Path | None]:
    """Open a new file of a folder; with a hidden name only where a file must have one."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with contextlib.suppress(OSError):  # a file system that cannot
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), None
    path = folder / f".{secrets.token_hex(8)}.tmp"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _give_name(handle: int, path: Path) -> None:
    """Put an open file without a name at `path`, in place of what is there."""
    # src_dir_fd has no effect on the absolute path, but makes Python follow the link
    link = partial(os.link, f"/proc/self/fd/{handle}", src_dir_fd=handle, follow_symlinks=True)
    with contextlib.suppress(FileExistsError):
        link(path)
        return
    # A link never replaces a file, and renaming does. All who replace this file use one name, one
    # at a time, so that what a process left there when it was killed goes with the next.
    import fcntl  # not on Windows, where files have names

    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    beside, folder = path.with_name(f".{digest}.tmp"), os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        beside.unlink(missing_ok=True)
        link(beside)
        try:
            beside.replace(path)
        except OSError:
            beside.unlink()
            raise
    finally:
        os.close(folder)


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


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_atomically` does."""
    write_bytes(path, text.encode())
