"""A lock that one process at a time holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from btp.errors import DataError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds a lock file, and hold it; a process that ends lets go.

    Args:
        path: of the file, which is there only while a process holds it or was killed.

    Raises:
        DataError: if it cannot be made.
    """
    with claimed(path, wait=True):
        yield


@contextlib.contextmanager
def claimed(path: Path, wait: bool) -> Iterator[bool]:
    """Hold a lock file and yield True; False if another process holds it and is not waited for.

    Args:
        path: as in `locked`.
        wait: until no other process holds it.

    Raises:
        DataError: if it cannot be made.
    """
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot write here ({error.strerror}); choose another folder"
        ) from error
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: who waits for this file sees that it is gone
        lock.release()
