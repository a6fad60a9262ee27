"""Find the scans of a file, a folder or a pattern."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from btp.data.formats import POINT_SUFFIXES
from btp.errors import DataError

HEAT_MAPS = (".scores.ply", ".surface.ply")
"""How the names of clouds end that hold the scores of a scan."""
TABLES = re.compile(r"scores(\.shard-\d+-of-\d+)?(\.unfinished)?\.csv")
_HEADER = 2000  # bytes, within which a heat map's header names its values


@dataclass(frozen=True)
class ScanFiles:
    """The files of scans, and the names that they have in the results.

    Attributes:
        root: folder that the names are relative to.
        paths: files below it, sorted by name.
        share: which share of a listing these are, such as "shard-03-of-16"; "" for all of it.
    """

    root: Path
    paths: list[Path]
    share: str = ""

    def name(self, path: Path) -> str:
        """Return a scan's name in the results: its path below the root, with `/`, as it prints."""
        return printable(path.relative_to(self.root).as_posix())

    def shard(self, number: int, shards: int) -> ScanFiles:
        """Return every `shards`-th scan, from the one of this number (0, 1, ...) on."""
        share = f"shard-{number:0{len(str(shards - 1))}}-of-{shards}"
        return ScanFiles(self.root, self.paths[number::shards], share)


def find_scans(source: str, out: Path | None = None) -> ScanFiles:
    """List the scans that a path or pattern stands for.

    Args:
        source: a file, a folder with all its subfolders, linked ones too, or a glob pattern (`**`
            for any depth). Hidden files, files without a readable suffix and the results of earlier
            runs are left out.
        out: folder of the results; if it is inside of the scans' folder, files in it are left out.

    Returns:
        Files, and links to nothing, which whoever reads them finds broken.

    Raises:
        DataError: if there is no scan.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if is_result(path):
            raise DataError(f"{printable(source)}: a result of an earlier run; expected a scan")
        return ScanFiles(path.parent, [path])
    if path.is_dir():
        root, found = path, _files_below(path)
    else:
        root = next(parent for parent in path.parents if parent.is_dir())
        found = [*root.glob(str(path.relative_to(root)))]
    results = None if out is None else Path(os.path.realpath(out))
    inside = results is not None and Path(os.path.realpath(root)) in results.parents
    scans = ScanFiles(root, [])
    for file in sorted(found, key=scans.name):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if hidden or file.suffix.lower() not in POINT_SUFFIXES or file.is_dir() or is_result(file):
            continue
        if not (inside and results in Path(os.path.realpath(file)).parents):
            scans.paths.append(file)
    if not scans.paths:
        raise DataError(
            f"{printable(source)}: no scan found; expected a file, a folder or a pattern of files "
            f"{', '.join(POINT_SUFFIXES)}"
        )
    return scans


def is_result(path: Path) -> bool:
    """Tell whether a file was written by an earlier run, by its name and how it begins."""
    table = TABLES.fullmatch(path.name)
    if not table and not path.name.endswith(HEAT_MAPS):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER)
    except OSError:
        return False
    if table:
        return start.startswith(b"file,points,object_score,")
    return b"\nproperty float scalar_anomaly\n" in start


def printable(name: str) -> str:
    r"""Return a name as it can be printed and written: a byte that is no UTF-8 becomes `\xef`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _files_below(folder: Path) -> list[Path]:
    """List all files below a folder and the folders linked there, each folder once."""
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # a link to what is listed, or to a folder above
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in files]
    return found
