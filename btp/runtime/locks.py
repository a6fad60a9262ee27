"""A lock that one process at a time holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from btp.errors import DataError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds a lock file, and hold it; a process that ends lets go.

    Args:
        path: of the file, which is there only while a process holds it or was killed.

    Raises:
        DataError: if it cannot be made.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot write here ({error.strerror}); choose another folder"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: who waits for this file sees that it is gone
        lock.release()
