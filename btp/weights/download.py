"""Download a whole file: go on where an earlier call ended, watch the disk, check the hash."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from btp.errors import WeightsError
from btp.weights.records import file_sha256
from btp.weights.sources import RemoteFile

RESERVE = 64 << 20  # bytes that a download leaves free on the disk


def partial_path(target: Path, etag: str) -> Path:
    """Return where an unfinished download is kept; other content (etag) has another path."""
    mark = re.sub(r"\W", "", etag)[:32]
    return target.with_name(f".{target.name}.{mark}.partial")


def remove_partials(target: Path) -> None:
    """Remove all unfinished downloads of a file."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        path.unlink(missing_ok=True)


def fill(
    partial: Path, size: int, blocks: Callable[[int], Iterator[bytes]], title: str, command: str
) -> None:
    """Append blocks to a partial file until it has its full size.

    Args:
        partial: what an earlier, interrupted call left, or no file yet.
        size: of the whole.
        blocks: given how many bytes are there, brings the others.
        title: for the progress bar.
        command: what a user repeats after mending a failure.

    Raises:
        WeightsError: if the disk has no room; what came is kept.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    done = partial.stat().st_size if partial.exists() else 0
    require_space(partial.parent, size - done, command)
    try:
        with (
            partial.open("ab") as file,
            tqdm(desc=title, total=size, initial=done, unit="B", unit_scale=True) as bar,
        ):
            for block in blocks(done):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WeightsError(
            f"{partial}: writing failed ({error.strerror}); what came is kept. Make room for "
            f"{size / 1e9:.1f} GB and repeat: {command}"
        ) from error
    found = partial.stat().st_size
    if found != size:
        partial.unlink()
        raise WeightsError(
            f"{title}: {found:,} bytes came, expected {size:,}; they were deleted. "
            f"Repeat: {command}"
        )


def fetch_whole(remote: RemoteFile, partial: Path, command: str) -> None:
    """Download a whole file, resuming an earlier call, and check its sha256.

    Raises:
        WeightsError: if the connection or the disk fails, or other bytes came than were published.
    """
    fill(partial, remote.size, lambda done: remote.read(done, remote.size), remote.name, command)
    if re.fullmatch(r"[0-9a-f]{64}", remote.etag):
        found = file_sha256(partial)
        if found != remote.etag:
            partial.unlink()
            raise WeightsError(
                f"{remote.name}: the bytes that came have sha256 {found}, expected "
                f"{remote.etag}; they were deleted. Repeat: {command}"
            )


def require_space(folder: Path, needed: int, command: str) -> None:
    """Raise an error if a download would fill the disk.

    Raises:
        WeightsError: if fewer than `needed` bytes, and a reserve, are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise WeightsError(
            f"{folder}: {free / 1e9:.2f} GB are free on this disk, expected "
            f"{(needed + RESERVE) / 1e9:.2f} GB. Make room and repeat: {command}"
        )
