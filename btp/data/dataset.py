"""Datasets on disk in a folder a category: their listing, and the reading of their scans."""

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from btp.data.formats import read_labelled_points, read_points
from btp.errors import ConfigError, DataError
from btp.runtime.files import FileSketches
from btp.types import Cloud, Sample

SPLITS = ("test", "train")
_SHOWN = 40
"""Names listed in an error before "and n more"."""


class Dataset(ABC):
    """A dataset in the layout `<category>/{train,test,<labels>}/`, listed in sorted order.

    Training scans are normal. A defective test scan has a label file `x y z label` of its own
    points; both benchmarks order and even count these otherwise than the scan's cloud file, so its
    geometry is read from there too.
    """

    name: str
    suffixes: tuple[str, ...] = (".pcd",)

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Take the folder of each category."""
        self._folders = dict(sorted(folders.items()))
        self._sketches = FileSketches()

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories on disk, sorted."""
        return tuple(self._folders)

    def samples(self, category: str, split: str) -> list[Sample]:
        """List the scans of a category's "train" or "test" split, sorted by name.

        A split that is not there is empty, and a defective scan without a label file is left out;
        `missing` names both.

        Raises:
            ConfigError: unknown category or split.
        """
        if split not in SPLITS:
            raise ConfigError(f"unknown split '{split}', expected one of {', '.join(SPLITS)}")
        if category not in self._folders:
            raise ConfigError(_unknown_category(self.name, category, self.categories))
        samples = (self._sample(category, split, path) for path in self._scans(category, split))
        listed = (
            sample
            for sample in samples
            if not sample.is_anomalous or (sample.label_path and sample.label_path.is_file())
        )
        return sorted(listed, key=lambda sample: sample.name)

    def problems(self) -> str:
        """Describe what is missing or unexpected; "" where nothing is known to be."""
        return ""

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any test scan or label file.

        A copy of the data set on another machine has the same: names and contents count, those of
        scans as `FileSketches` sees them. A corrected label may keep a file's size, so label files
        count whole.
        """
        digest = hashlib.blake2b(digest_size=8)
        for category in self.categories:
            for sample in self.samples(category, "test"):
                for path in (sample.path, sample.label_path):
                    if path is not None and path.is_file():
                        sketch = self._sketches.sketch(path, whole=path == sample.label_path)
                        digest.update(f"{category}/{path.name} {sketch} ".encode())
        return digest.hexdigest()

    def read(self, sample: Sample) -> Cloud:
        """Read a scan whole, with its point labels.

        Returns:
            A cloud in the file's units and order: from the label file if the scan is defective,
            from the cloud file with all labels False if it is normal.

        Raises:
            DataError: an unreadable or empty file, non-finite points, or a defective scan with no
                point labelled defective.
        """
        if sample.label_path is None:
            points = read_points(sample.path)
            return Cloud(points, np.zeros(len(points), bool), sample.category, sample.name)
        labelled, labels = read_labelled_points(sample.label_path)
        if not labels.any():
            raise DataError(
                f"{sample.label_path}: all {len(labels)} points are labelled 0, though a scan with "
                "a label file is a defective one; expected at least one 1. Download the file "
                "again, or remove it if the scan is normal."
            )
        return Cloud(labelled, labels, sample.category, sample.name)

    def _scans(self, category: str, split: str) -> list[Path]:
        return visible_files(self._folders[category] / split, self.suffixes)

    def _sample(self, category: str, split: str, path: Path) -> Sample:
        defective = split == "test" and self._is_defective(category, path)
        label_path = self._label_path(category, path) if defective else None
        return Sample(category, split, path.stem, path, label_path, defective)

    @abstractmethod
    def _is_defective(self, category: str, path: Path) -> bool:
        """Tell whether a test scan is defective, from its name or its label file."""

    def _label_path(self, category: str, path: Path) -> Path:
        return label_folder(self._folders[category]) / f"{path.stem}.txt"


def category_folders(root: Path) -> dict[str, Path]:
    """List the folders in `root` that have a train or test folder in them, by name."""
    if not root.is_dir():
        return {}
    return {
        folder.name: folder
        for folder in root.iterdir()
        if any((folder / split).is_dir() for split in SPLITS)
    }


def require_categories(folders: Mapping[str, Path], root: Path, expected: str) -> None:
    """Stop where no category was found.

    Raises:
        DataError: says what is in `root` and what should be.
    """
    if folders:
        return
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    found = f"holds {shortened(names)}" if names else "no such folder, or an empty one"
    raise DataError(f"{root}: {found}; {expected}")


def label_folder(category: Path) -> Path:
    """Return the folder of label files, "gt" in any case: the benchmarks write it differently."""
    folders = sorted(path for path in category.iterdir() if path.name.lower() == "gt")
    return folders[0] if folders else category / "gt"


def visible_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """List the files of some kinds in a folder that may be absent, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.name[0] != "." and path.is_file()
    )


def _unknown_category(dataset: str, category: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(category, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{dataset}: unknown category '{category}', expected one of {', '.join(known)}.{hint}"


def shortened(names: list[str]) -> str:
    """Join names for a message; of very many the first only."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
