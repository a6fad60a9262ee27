"""The two ways to score the scans of a folder: each alone, or by others."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from btp.data.coverage import Coverage
from btp.errors import DataError
from btp.evaluation.patch_distances import DescribedScan
from btp.inspect.described_folder import DescribedFolder
from btp.inspect.peers import Together, find_peers
from btp.inspect.reference import GoodScans
from btp.inspect.scan import ReadyScan, ScoredScan
from btp.inspect.scan_files import ScanFiles
from btp.inspect.scan_model import ScanModel

Loaded = tuple[ReadyScan, DescribedScan | None]


class Scorer(Protocol):
    """Reads scans in any thread, and scores them in one."""

    def key(self, path: Path) -> str:
        """Return what the score of a scan depends on besides itself: "" for nothing."""

    def load(self, path: Path) -> Loaded:
        """Read a scan: all work before the model, safe in any thread.

        Raises:
            DataError: if it cannot be read or used.
        """

    def score(self, loaded: Loaded, path: Path) -> ScoredScan:
        """Score what was read."""


class AloneScorer:
    """Scores each scan by the detector alone."""

    def __init__(self, inspector: ScanModel, coverage: Coverage) -> None:
        """Take a detector, and the coverage of every scan."""
        self.inspector, self.coverage = inspector, coverage

    def key(self, path: Path) -> str:
        """Return "": no other scan matters."""
        return ""

    def load(self, path: Path) -> Loaded:
        """Read, sample and describe the local geometry of a scan."""
        return self.inspector.ready(path, self.coverage), None

    def score(self, loaded: Loaded, path: Path) -> ScoredScan:
        """Encode and score a scan."""
        return self.inspector.score([loaded[0]])[0]


class PeerScorer:
    """Scores each scan by others of its part, by good ones, or by both."""

    def __init__(
        self,
        inspector: ScanModel,
        scans: ScanFiles,
        out: Path,
        coverage: Coverage,
        together: Together,
        reference: GoodScans | None,
        workers: int | None = None,
    ) -> None:
        """Describe all scans, and decide by which others each is judged.

        Raises:
            ConfigError: as `find_peers`, or for a reference of another detector or coverage.
            DataError: if the descriptors cannot be written, or the reference is of another part.
        """
        if reference is not None:
            reference.check(inspector.digest, coverage)
        self.uncovered = inspector.detector.config.uncovered
        self.folder = DescribedFolder(inspector, scans, out, coverage)
        known, self.errors = self.folder.describe_all(workers)
        self.known = {scan.path: scan for scan in known}
        self.peers = find_peers(self.folder, known, together, reference)

    def key(self, path: Path) -> str:
        """Return a digest of the scans that judge this one."""
        return self.peers[path].key if path in self.peers else ""

    def load(self, path: Path) -> Loaded:
        """Read a scan again, and its description."""
        if path in self.errors:
            raise DataError(self.errors[path])
        return self.folder.load_ready(self.known[path])

    def score(self, loaded: Loaded, path: Path) -> ScoredScan:
        """Compare a scan with its peers."""
        ready, described = loaded
        assert described is not None, "load gives both"
        return self.peers[path].scored(ready, described, self.uncovered)
