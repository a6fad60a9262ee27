"""Size and hash of a weight file: recorded when it is installed, verified at every use."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from btp.errors import DataError, WeightsError
from btp.runtime.files import write_bytes
from btp.weights.published import FETCH


@dataclass(frozen=True)
class Record:
    """Size, hash and origin of a weight file; kept beside it as <file>.json.

    Attributes:
        size: in bytes.
        sha256: of the whole file.
        source: where it came from.
        etag: the publisher's mark of the source's content, "" where there is none; for large files
            of the Hugging Face hub it is their sha256.
        modified: the file's time of modification, ns, when its hash was last verified. A file of
            the same size and time is not read again, as git does it.
    """

    size: int
    sha256: str
    source: str
    etag: str = ""
    modified: int = 0


def record_path(path: str | Path) -> Path:
    """Return the path of a weight file's record."""
    return Path(f"{path}.json")


def read_record(path: str | Path) -> Record | None:
    """Read a weight file's record, whether or not the file exists; None without a record.

    Raises:
        WeightsError: if the record cannot be read.
    """
    kept = record_path(path)
    if not kept.is_file():
        return None
    try:
        return Record(**json.loads(kept.read_text()))
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{kept}: not a record of a weight file ({error}); delete it to take the file beside "
            "it as it is"
        ) from error


def write_record(
    path: str | Path, source: str, etag: str = "", content: Path | None = None
) -> Record:
    """Record size and hash of a file that has just become complete.

    Args:
        path: of the file.
        source: where it came from.
        etag: the publisher's mark of the source's content.
        content: a complete file that will be renamed to `path`, which is not there yet.
    """
    content = content or Path(path)
    stat = content.stat()
    record = Record(stat.st_size, file_sha256(content), source, etag, stat.st_mtime_ns)
    _keep(Path(path), record)
    return record


def install(content: Path, path: Path, source: str, etag: str = "") -> None:
    """Rename a complete file to `path`, after recording it: what is there has its record."""
    write_record(path, source, etag, content)
    content.replace(path)


def verify(path: str | Path, thoroughly: bool = False) -> Record | None:
    """Check that a weight file is still the one that was recorded.

    Args:
        path: the file; it must be there.
        thoroughly: read the file even if size and time are those of the last check.

    Returns:
        The record, or None for a file that has none.

    Raises:
        WeightsError: if the file is not the one recorded.
    """
    path, record = Path(path), read_record(path)
    if record is None:
        return None
    stat = path.stat()
    unchanged = (stat.st_size, stat.st_mtime_ns) == (record.size, record.modified)
    if unchanged and not thoroughly:
        return record
    found = file_sha256(path) if stat.st_size == record.size else "not computed"
    if found != record.sha256:
        raise WeightsError(
            f"{path}: not the file that was recorded; found {stat.st_size:,} bytes, sha256 "
            f"{found}, expected {record.size:,} bytes, sha256 {record.sha256} (from "
            f"{record.source}). Delete it and get it again with "
            f"{FETCH}, or delete {record_path(path).name} if the change is meant"
        )
    if not unchanged:
        with contextlib.suppress(DataError):  # a read-only folder: hashed again the next time
            _keep(path, replace(record, modified=stat.st_mtime_ns))
    return record


def _keep(path: Path, record: Record) -> None:
    content = json.dumps(asdict(record), indent=2).encode() + b"\n"
    write_bytes(record_path(path), content)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
