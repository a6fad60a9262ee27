"""Find the scans of a file, a folder or a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from btp.data.formats import POINT_SUFFIXES
from btp.errors import ConfigError, DataError


@dataclass(frozen=True)
class ScanFiles:
    """The files of scans, and the names that they have in the results.

    Attributes:
        root: folder that the names are relative to.
        paths: files below it, sorted by name.
    """

    root: Path
    paths: list[Path]

    def name(self, path: Path) -> str:
        """Return a scan's name in the results: its path below the root, with `/`."""
        return path.relative_to(self.root).as_posix()


def find_scans(source: str, out: Path | None = None) -> ScanFiles:
    """List the scans that a path or pattern stands for.

    Args:
        source: a file, a folder with all its subfolders, or a glob pattern (`**` for any depth).
            Hidden files and files without a readable suffix are left out.
        out: folder of the results; files in it are left out.

    Raises:
        DataError: if there is no scan.
        ConfigError: if the results would be written among the scans.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return ScanFiles(path.parent, [path])
    if path.is_dir():
        root, found = path, [*path.rglob("*")]
    else:
        root = next(parent for parent in path.parents if parent.is_dir())
        found = [*root.glob(str(path.relative_to(root)))]
    if out is not None and out.resolve() == root.resolve():
        raise ConfigError(f"out={out} is the folder of the scans; choose another for the results")
    scans = ScanFiles(root, [])
    for file in sorted(found, key=scans.name):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        result = out is not None and out.resolve() in file.resolve().parents
        if file.suffix.lower() in POINT_SUFFIXES and file.is_file() and not hidden and not result:
            scans.paths.append(file)
    if not scans.paths:
        raise DataError(
            f"{source}: no scan found; expected a file, a folder or a pattern of files "
            f"{', '.join(POINT_SUFFIXES)}"
        )
    return scans
