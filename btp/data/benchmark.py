"""Published datasets: a download is checked file by file against the list of what was published."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from btp.data.dataset import SPLITS, Dataset, label_folder, shortened, visible_files
from btp.errors import DataError


class Benchmark(Dataset):
    """A published dataset, checked file by file against the inventory that ships with BTP."""

    def __init__(self, folders: Mapping[str, Path], allow_missing: bool) -> None:
        """Take the folder of each category.

        Args:
            folders: by category.
            allow_missing: warn about an incomplete download, and go on with what is there.

        Raises:
            DataError: if the download is incomplete; see `problems`.
        """
        super().__init__(folders)
        problems = self.problems()
        if problems and allow_missing:
            warnings.warn(f"{self.name}: going on with what is there: {problems}", stacklevel=2)
        elif problems:
            raise DataError(
                f"{self.name}: the data on disk is not the published set. {problems}. Complete "
                "the download, or set dataset.allow_missing=true to go on without."
            )

    def problems(self) -> str:
        """Count and name the files that are missing, empty or unexpected; "" if there are none."""
        problems = [
            f"{len(names)} {kind}: {shortened(names)}"
            for kind, names in (
                ("missing", self.missing()),
                ("empty (0 bytes; 7z does this to RAR archives, use unar)", self.empty()),
                ("unexpected", self.unexpected()),
            )
            if names
        ]
        return "; ".join(problems)

    def missing(self) -> list[str]:
        """Name the published categories, scans and label files that are not on disk."""
        expected = self._expected()
        found = self._found()
        absent = sorted(set(expected) - set(self._folders))
        missing = [f"{category}/ (the whole category)" for category in absent]
        for category in self._folders:
            files = set(expected.get(category, ())) | set(self._needed_labels(category))
            missing += sorted(files - found[category].keys())
        return missing

    def unexpected(self) -> list[str]:
        """Name the categories, scans and label files on disk that were not published."""
        expected = self._expected()
        found = self._found()
        unknown = [
            f"{name}/ (the whole category)" for name in self._folders if name not in expected
        ]
        known = (name for name in self._folders if expected.get(name))
        return unknown + [
            file for name in known for file in sorted(found[name].keys() - set(expected[name]))
        ]

    def empty(self) -> list[str]:
        """Name the scans and label files of 0 bytes."""
        return [
            file
            for files in self._found().values()
            for file, path in sorted(files.items())
            if path.stat().st_size == 0
        ]

    def _expected(self) -> dict[str, list[str]]:
        """Category -> its published files; none where only the category's name is known."""
        expected: dict[str, list[str]] = {}
        for row in _inventory(self.name):
            files = expected.setdefault(row["category"], [])
            files.append(f"{row['category']}/{row['split']}/{row['file']}")
            if row["gt_file"]:
                files.append(f"{row['category']}/gt/{row['gt_file']}")
        return expected

    def _found(self) -> dict[str, dict[str, Path]]:
        """Category -> file as the inventory writes it -> path."""
        found: dict[str, dict[str, Path]] = {}
        for category, folder in self._folders.items():
            files = [(split, path) for split in SPLITS for path in self._scans(category, split)]
            files += [("gt", path) for path in visible_files(label_folder(folder), (".txt",))]
            found[category] = {f"{category}/{part}/{path.name}": path for part, path in files}
        return found

    def _needed_labels(self, category: str) -> list[str]:
        samples = (self._sample(category, "test", path) for path in self._scans(category, "test"))
        return [f"{category}/gt/{s.label_path.name}" for s in samples if s.label_path]


def published_categories(name: str) -> tuple[str, ...]:
    """Return the categories of a benchmark by the inventory that ships with BTP, sorted."""
    return tuple(sorted({row["category"] for row in _inventory(name)}))


def _inventory(name: str) -> list[dict[str, str]]:
    path = resources.files("btp.data") / "inventories" / f"{name}.csv"
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
