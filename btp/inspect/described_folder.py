"""Descriptions of a folder's scans on disk, written as they come.

An interrupted run goes on, and memory does not grow with the number of scans: of each only its
digest and its extents are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save

import btp
from btp.data.coverage import Coverage
from btp.data.reading import read_scan
from btp.errors import DataError
from btp.evaluation.patch_distances import DescribedScan, extents
from btp.inspect.overlap import work_ahead
from btp.inspect.scan import ReadyScan
from btp.inspect.scan_files import ScanFiles
from btp.inspect.scan_model import ScanModel
from btp.runtime.files import file_digest, write_bytes
from btp.weights.state_dict import read_safetensors

FOLDER = "_descriptors"
FORMAT = "1"


@dataclass(frozen=True)
class KnownScan:
    """What is held in memory of each scan.

    Attributes:
        path: of the scan.
        content: digest of its file.
        digest: of its points.
        extents: float64 [3].
    """

    path: Path
    content: str
    digest: str
    extents: torch.Tensor


class DescribedFolder:
    """The scans of a folder, described on disk; reads, or else makes, the description of each."""

    def __init__(
        self, inspector: ScanModel, scans: ScanFiles, out: Path, coverage: Coverage
    ) -> None:
        """Name the folder of descriptions; nothing is written yet."""
        self.inspector, self.scans, self.coverage = inspector, scans, coverage
        self.folder = out / FOLDER

    def describe_all(self, workers: int | None) -> tuple[list[KnownScan], dict[Path, str]]:
        """Describe every scan that is not described yet.

        Returns:
            The scans, and for those that cannot be read or used what is wrong with them.
        """
        known, errors = [], {}
        for path, reading in work_ahead(
            self._find_or_prepare, self.scans.paths, workers, "describing"
        ):
            try:
                content, found = reading.result()
                if isinstance(found, ReadyScan):
                    found = self._describe(path, content, found)
                known.append(KnownScan(path, content, found.digest, extents(found)))
            except DataError as error:
                errors[path] = str(error)
        return known, errors

    def load(self, scan: KnownScan) -> DescribedScan:
        """Read the description of a scan.

        Raises:
            DataError: if it is gone.
        """
        found = self._read(scan.path, scan.content)
        if found is None:
            raise DataError(f"{self._file(scan.path)}: gone or damaged while in use; run again")
        return _described(*found)

    def load_ready(self, scan: KnownScan) -> tuple[ReadyScan, DescribedScan]:
        """Read a scan again, with its description and its place in the samplings."""
        found = self._read(scan.path, scan.content)
        if found is None:
            raise DataError(f"{self._file(scan.path)}: gone or damaged while in use; run again")
        about, tensors = found
        described = _described(about, tensors)
        ready = ReadyScan(
            scan=read_scan(scan.path),
            points=described.points.numpy(),
            channels=None,
            surface_rows=tensors["surface_rows"].numpy(),
            valid_rows=tensors.get("valid_rows", tensors["surface_rows"]).numpy(),
            repeated=about["repeated"] == "True",
            spacing=float(about["spacing"]),
            scale=described.scale,
        )
        return ready, described

    def _find_or_prepare(self, path: Path) -> tuple[str, DescribedScan | ReadyScan]:
        content = file_digest(path)
        found = self._read(path, content)
        if found is not None:
            return content, _described(*found)
        return content, self.inspector.ready(path, self.coverage)

    def _describe(self, path: Path, content: str, ready: ReadyScan) -> DescribedScan:
        ready, described = self.inspector.describe([ready])[0]
        tensors = described.tensors()
        tensors["surface_rows"] = _short(ready.surface_rows)
        if ready.scan.sampled:
            tensors["valid_rows"] = _short(ready.valid_rows)
        about = self._about(content) | {
            "digest": described.digest,
            "repeated": str(ready.repeated),
            "spacing": repr(ready.spacing),
        }
        write_bytes(self._file(path), save(tensors, metadata=about))
        return described

    def _about(self, content: str) -> dict[str, str]:
        return {
            "format": FORMAT,
            "content": content,
            "detector": self.inspector.digest,
            "btp": btp.__version__,
            "coverage": self.coverage,
            "precision": self.inspector.precision,
        }

    def _file(self, path: Path) -> Path:
        return self.folder / f"{self.scans.name(path)}.safetensors"

    def _read(
        self, path: Path, content: str
    ) -> tuple[dict[str, str], dict[str, torch.Tensor]] | None:
        """Read a description; None if there is none of this scan and detector."""
        try:
            about, tensors = read_safetensors(self._file(path))
        except (SafetensorError, OSError):
            return None
        same = all(about.get(key) == value for key, value in self._about(content).items())
        return (about, tensors) if same else None


def _described(about: dict[str, str], tensors: dict[str, torch.Tensor]) -> DescribedScan:
    return DescribedScan.from_tensors(about["digest"], tensors)


def _short(rows: object) -> torch.Tensor:
    """Rows of sampled points as 16 bit; there are far fewer than 32,768 of them."""
    return torch.as_tensor(rows).to(torch.int16)
