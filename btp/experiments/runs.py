"""Runs on disk: one folder for each dataset, encoder, recipe, train category and seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from btp.errors import DataError
from btp.runtime.files import write_text


@dataclass(frozen=True)
class Run:
    """One training and, once it was scored, its result."""

    folder: Path

    @classmethod
    def at(
        cls, outputs: str | Path, dataset: str, encoder: str, recipe: str, train_cat: str, seed: int
    ) -> Run:
        """The run of these settings, whether or not it exists yet."""
        return cls(Path(outputs) / dataset / encoder / recipe / train_cat / f"seed{seed}")

    @contextmanager
    def claimed(self, wait: bool) -> Iterator[bool]:
        """One process at a time works on a run; the claim ends with the process, however it ends.

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
        lock = FileLock(path, timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @property
    def detector_path(self) -> Path:
        """The trained detector; there once the training has finished."""
        return self.folder / "detector.safetensors"

    def result_path(self, dataset: str) -> Path:
        """The result on a dataset, one JSON line."""
        return self.folder / f"result-{dataset}.json"

    def pictures_path(self, dataset: str) -> Path:
        """Examples of scored scans of a dataset."""
        return self.folder / f"pictures-{dataset}.png"

    def drawn_beside(self, dataset: str) -> bool:
        """Whether another run of the same recipe has pictures of a dataset, and this one none."""
        own = self.pictures_path(dataset)
        return not own.is_file() and any(self.folder.parent.parent.glob(f"*/seed*/{own.name}"))

    def result(self, dataset: str) -> dict[str, Any] | None:
        """The stored result on a dataset; None if there is none.

        Raises:
            DataError: if the file is not JSON.
        """
        path = self.result_path(dataset)
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text()))  # Python's JSON writes and reads NaN
        except (ValueError, TypeError, OSError) as error:
            raise DataError(
                f"{path}: not a result ({error}); remove it, or score again with rescore=true"
            ) from error

    def write_result(self, dataset: str, result: dict[str, Any]) -> None:
        """Store the result on a dataset, whole or not at all."""
        write_text(self.result_path(dataset), json.dumps(result) + "\n")


def find_runs(outputs: str | Path, dataset: str, encoder: str) -> Sequence[Run]:
    """All finished runs of a dataset with an encoder, sorted by folder."""
    root = Path(outputs) / dataset / encoder
    return [Run(path.parent) for path in sorted(root.glob("*/*/seed*/detector.safetensors"))]
