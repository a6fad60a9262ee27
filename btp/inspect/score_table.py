"""Write scores.csv: a line for each scan as it is scored, sorted when all are; and read it."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from btp.errors import DataError
from btp.inspect.outputs import ScanResult
from btp.runtime.files import file_size, write_text


class ScoreTable:
    """The table of all scans of a folder.

    While scans are scored their lines are added to scores.unfinished.csv, so that a run that stops
    leaves its results; at the end the sorted scores.csv replaces it.
    """

    def __init__(self, folder: Path, share: str = "") -> None:
        """Name a table; nothing is written yet.

        Args:
            folder: of all results.
            share: of the scans, as in `ScanFiles`; a share has a table of its own.
        """
        name = f"scores.{share}" if share else "scores"
        self.path = folder / f"{name}.csv"
        self.unfinished = folder / f"{name}.unfinished.csv"
        self._begun, self._waiting = False, ""

    def begin(self) -> None:
        """Begin the unfinished table, without lines.

        Raises:
            DataError: if it cannot be written.
        """
        write_text(self.unfinished, _lines([], header=True))
        self._begun = True

    def add(self, result: ScanResult) -> None:
        """Add a line to the unfinished table, as soon as the disk has room for it."""
        self._waiting += _lines([result], header=False)
        size = file_size(self.unfinished)
        try:
            with self.unfinished.open("a", encoding="utf-8", newline="") as file:
                file.write(self._waiting)
        except OSError:  # full for now: what was written of it is written again
            with contextlib.suppress(OSError):
                os.truncate(self.unfinished, size)
        else:
            self._waiting = ""

    def finish(self, results: Sequence[ScanResult]) -> None:
        """Write the table of all results; where the disk is full, the unfinished one becomes it.

        Raises:
            DataError: if neither can be done; an older table is then as it was.
        """
        try:
            write_text(self.path, _lines(worst_first(results), header=True))
        except DataError:
            if self._waiting or not self._begun:  # an unfinished one of another run is not it
                raise
            try:
                self.unfinished.replace(self.path)
            except OSError as error:
                raise DataError(
                    f"{self.path}: cannot be written ({error.strerror}); the lines are in "
                    f"{self.unfinished.name}, and what is scored is not scored again"
                ) from error
        with contextlib.suppress(OSError):  # of no use, and of no harm
            self.unfinished.unlink()

    def errors(self) -> dict[str, str] | None:
        """Read the error of each scan, "" for none; None if the table is not finished.

        Raises:
            DataError: if the file is no such table.
        """
        if self.unfinished.is_file() or not self.path.is_file():
            return None
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                return {row["file"]: row["error"] for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(
                f"{self.path}: cannot be read as a table of scores ({error!r}); delete it, and "
                "score its scans again"
            ) from error


def worst_first(results: Sequence[ScanResult]) -> list[ScanResult]:
    """Sort by object score, the highest first and missing ones last, and then by name."""
    return sorted(results, key=lambda r: (r.object_score is None, -(r.object_score or 0), r.file))


def _lines(results: Sequence[ScanResult], header: bool) -> str:
    text = io.StringIO()
    sheet = csv.DictWriter(text, [field.name for field in fields(ScanResult)], lineterminator="\n")
    if header:
        sheet.writeheader()
    for result in results:
        sheet.writerow(
            {
                name: f"{value:.6g}" if isinstance(value, float) else value
                for name, value in asdict(result).items()
            }
        )
    return text.getvalue()
