"""Runs on disk: one folder for each dataset, encoder, recipe, train category and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from btp.errors import BTPError, DataError
from btp.experiments.record import RunRecord, read_record, write_record
from btp.runtime.locks import claimed

BASELINES_FOLDER = "baselines"


@dataclass(frozen=True)
class Run:
    """The folder of one training or baseline and, once it was scored, of its record."""

    folder: Path

    @contextmanager
    def claimed(self, wait: bool) -> Iterator[bool]:
        """Work on a run while no other process does; the claim ends with the process.

        Args:
            wait: until no other process works on it; otherwise False is given at once.

        Raises:
            DataError: if the folder cannot be made.
        """
        path = self.folder / ".lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{self.folder}: cannot be made ({error.strerror}); choose another outputs=..."
            ) from error
        with claimed(path, wait) as mine:
            yield mine

    @property
    def detector_path(self) -> Path:
        """Path of the trained detector, which is there once the training has finished."""
        return self.folder / "detector.safetensors"

    def record_path(self, dataset: str) -> Path:
        """Path of the record of scoring a dataset, one line of JSON."""
        return self.folder / f"result-{dataset}.json"

    def pictures_path(self, dataset: str) -> Path:
        """Path of the picture of some scored scans of a dataset."""
        return self.folder / f"pictures-{dataset}.png"

    def drawn_beside(self, dataset: str) -> bool:
        """Tell whether another run of the same recipe has pictures of a dataset, and this none."""
        own = self.pictures_path(dataset)
        return not own.is_file() and any(self.folder.parent.parent.glob(f"*/seed*/{own.name}"))

    def record(self, dataset: str) -> RunRecord | None:
        """Read the record of scoring a dataset; None if there is none.

        Raises:
            DataError: if it is damaged, or was written by another version of this project.
        """
        path = self.record_path(dataset)
        return read_record(path) if path.is_file() else None

    def write_record(self, dataset: str, record: RunRecord) -> None:
        """Keep the record of scoring a dataset, whole or not at all."""
        write_record(self.record_path(dataset), record)


def find_runs(outputs: str | Path, dataset: str, encoder: str) -> Sequence[Run]:
    """List all finished runs of a dataset with an encoder, sorted by folder."""
    root = Path(outputs) / dataset / encoder
    return [Run(path.parent) for path in sorted(root.glob("*/*/seed*/detector.safetensors"))]


def find_scored_baselines(outputs: str | Path, dataset: str, encoder: str) -> Sequence[Run]:
    """List all baselines that were scored on a dataset with an encoder, sorted by folder."""
    root = Path(outputs) / dataset / encoder / BASELINES_FOLDER
    return [Run(path.parent) for path in sorted(root.glob(f"*/*/*/seed*/result-{dataset}.json"))]


def read_records(
    outputs: str | Path, dataset: str, encoder: str
) -> tuple[list[RunRecord], list[str]]:
    """Read the records that are there, of runs and baselines; nothing is scored or checked.

    Returns:
        The records, and a remark on each run that has none which can be read.
    """
    records, remarks = [], []
    found = (
        *find_runs(outputs, dataset, encoder),
        *find_scored_baselines(outputs, dataset, encoder),
    )
    for run in found:
        try:
            record = run.record(dataset)
        except BTPError as error:
            remarks.append(str(error))
            continue
        if record is None:
            remarks.append(f"{run.folder}: trained, and not scored yet")
        else:
            records.append(record)
    return records, remarks
