"""A user's own data: `<root>/<category>/{train,test,GT}/` with clouds of any readable kind.

`train` holds normal scans, `test` normal and defective ones, and `GT/<scan>.txt` (`x y z label` a
row, by commas or white space) the points of a defective scan. A test scan is defective if it has a
label file, and normal without one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from btp.data.dataset import (
    SPLITS,
    Dataset,
    category_folders,
    label_folder,
    require_categories,
    visible_files,
)
from btp.data.formats import POINT_SUFFIXES
from btp.errors import DataError


class Folder(Dataset):
    """Reads a user's own data.

    Args:
        root: the folder that holds one folder a category.
        name: what results call this dataset; the folder's own name if empty.

    Raises:
        DataError: no categories; a file that is no cloud; two clouds of one name; a label file
            without its scan.
    """

    suffixes = POINT_SUFFIXES

    def __init__(self, root: str | Path, name: str = "") -> None:
        folders = category_folders(Path(root))
        require_categories(
            folders, Path(root), "expected <category>/train and <category>/test folders in it."
        )
        self.name = name or Path(root).resolve().name
        super().__init__(folders)
        for category, folder in self._folders.items():
            for split in SPLITS:
                _check_scans(folder / split)
            self._check_labels(category, folder)

    def _check_labels(self, category: str, folder: Path) -> None:
        scans = {path.stem for path in self._scans(category, "test")}
        for path in _visible(label_folder(folder)):
            if path.suffix != ".txt" or path.stem not in scans:
                raise DataError(
                    f"{path}: a label file for no scan; expected the name of a scan in "
                    f"{folder / 'test'} with the ending .txt. Rename or remove it."
                )

    def _is_defective(self, category: str, path: Path) -> bool:
        return self._label_path(category, path).is_file()


def _visible(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in files if path.name[0] != "."]


def _check_scans(folder: Path) -> None:
    readable = visible_files(folder, POINT_SUFFIXES)
    for path in _visible(folder):
        if path not in readable:
            raise DataError(
                f"{path}: not a cloud; expected files ending in {', '.join(POINT_SUFFIXES)}. "
                "Convert it or move it elsewhere."
            )
    twice = [stem for stem, count in Counter(path.stem for path in readable).items() if count > 1]
    if twice:
        raise DataError(
            f"{folder}: several files are named {', '.join(twice)}; expected one cloud a name. "
            "Rename or remove the others."
        )
