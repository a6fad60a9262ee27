"""Scoring a person's own scans: `btp.load(...)`, `detector.predict(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.prepare import N_POINTS, prepare
from btp.data.reading import RawScan, Scan, read_scan
from btp.errors import DataError, WeightsError
from btp.files import file_digest
from btp.geometry import nearest_rows
from btp.models.detector import Detector
from btp.surface import surface_channels
from btp.types import Cloud, Prediction
from btp.weights.models import PointLanguageModel, load_detector

BATCH = 8
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"


@dataclass(frozen=True)
class ReadyScan:
    """A scan with all that the encoder needs.

    Attributes:
        scan: as it was read.
        points: float32 [N, 3], sampled from the surface, in the unit sphere.
        channels: float32 [N, F] of `btp.surface`; None where nothing uses them.
        surface_rows: int32 [M], row of the nearest sampled point to each of `scan.surface`.
        valid_rows: int [V], and to each finite point of the scan.
        repeated: M < N, so points were sampled with repetition.
    """

    scan: RawScan
    points: NDArray[np.float32]
    channels: torch.Tensor | None
    surface_rows: NDArray[np.integer]
    valid_rows: NDArray[np.integer]
    repeated: bool


@dataclass(frozen=True)
class ScoredScan:
    """What a detector says of a scan.

    Attributes:
        scan: as it was read.
        object_score: in 0..1.
        point_scores: float32 [R], in 0..1; nan at rows that are not finite.
        surface_scores: float32 [M], of the points of `scan.surface`.
        repeated: as in `ReadyScan`.
    """

    scan: RawScan
    object_score: float
    point_scores: NDArray[np.float32]
    surface_scores: NDArray[np.float32]
    repeated: bool


class Inspector:
    """A trained detector with its encoder: scans in, scores for every point out."""

    def __init__(
        self,
        detector: Detector,
        model: PointLanguageModel,
        n_points: int = N_POINTS,
        digest: str = "",
    ) -> None:
        """Join detector and encoder.

        Args:
            detector: trained on the model's features.
            model: encoder.
            n_points: sampled from each scan.
            digest: tells this detector from all others; kept with results and thresholds.
        """
        self.detector = detector.to(model.device)
        self.model = model
        self.n_points = n_points
        self.digest = digest
        self._reads_channels = model.reads_surface or detector.recipe.gfcm_input == "surface"

    @overload
    def predict(self, scans: Scan) -> Prediction: ...

    @overload
    def predict(self, scans: list[Scan]) -> list[Prediction]: ...

    def predict(self, scans: Scan | list[Scan]) -> Prediction | list[Prediction]:
        """Score one scan or several.

        Args:
            scans: a file of any readable format, an array [R, 3] in any unit, or a list of either.

        Returns:
            A prediction, or a list of them; each with one score for every point, in its order, and
            nan for points that are not finite.

        Raises:
            DataError: if a scan cannot be read or used; it is named.
        """
        if isinstance(scans, str | Path | np.ndarray):
            return self.predict([scans])[0]
        scored = [
            one
            for start in range(0, len(scans), BATCH)
            for one in self.score([self.ready(scan) for scan in scans[start : start + BATCH]])
        ]
        return [Prediction(s.scan.name, s.point_scores, s.object_score, s.repeated) for s in scored]

    def ready(self, scan: Scan) -> ReadyScan:
        """Read, sample and describe a scan: all the work before the encoder, in any thread.

        Raises:
            DataError: if it cannot be read or used.
        """
        read = read_scan(scan)
        prepared = prepare(Cloud(read.surface, name=read.name), self.n_points)
        channels = None
        if self._reads_channels:
            # 16 bit, as the heads saw them while they were trained from the feature store
            described = surface_channels(prepared.dense, prepared.points)
            channels = torch.from_numpy(described).half().float()
        valid_rows: NDArray[np.integer] = prepared.nearest
        if read.sampled:
            vertices = (read.points[read.valid] - prepared.centre) / prepared.scale
            valid_rows = nearest_rows(vertices, prepared.points)
        return ReadyScan(
            read, prepared.points, channels, prepared.nearest, valid_rows, prepared.repeated
        )

    def score(self, batch: Sequence[ReadyScan]) -> list[ScoredScan]:
        """Score scans that are ready, as one batch.

        Raises:
            DataError: if the model gives no finite score for one of them.
        """
        device = self.model.device
        points = torch.stack([torch.from_numpy(ready.points) for ready in batch])
        channels = [ready.channels for ready in batch if ready.channels is not None]
        with torch.inference_mode():
            features = self.model.encode(
                points.to(device), torch.stack(channels).to(device) if channels else None
            )
            scores = self.detector(features)
        objects = scores.object_scores.float().cpu().tolist()
        values = scores.point_scores.float().cpu().numpy()
        return [_scored(*each) for each in zip(batch, objects, values, strict=True)]


def _scored(ready: ReadyScan, object_score: float, values: NDArray[np.float32]) -> ScoredScan:
    scan = ready.scan
    if not (np.isfinite(values).all() and np.isfinite(object_score)):
        raise DataError(
            f"{scan.name or 'the scan'}: the model gives no finite score for it, so its shape is "
            "none it can judge; look at the scan, and report it with the file if it is sound"
        )
    point_scores = np.full(len(scan.points), np.nan, np.float32)
    point_scores[scan.valid] = values[ready.valid_rows]
    return ScoredScan(scan, object_score, point_scores, values[ready.surface_rows], ready.repeated)


def load(detector: str | Path = "mini", device: torch.device | str = "cpu") -> Inspector:
    """Load a detector, ready for any scan.

    Args:
        detector: path of a file that scripts/train.py wrote; or the name of a detector that comes
            with the project, a folder in checkpoints/.
        device: to run on.

    Raises:
        WeightsError: if there is no such detector, or its encoder's weights have changed since.
    """
    path = detector_path(detector)
    heads, encoder, about = load_detector(path)
    model = PointLanguageModel(encoder, device)
    if about["encoder_fingerprint"] != model.fingerprint:
        raise WeightsError(
            f"{path}: was trained on encoder {encoder.name} {about['encoder_fingerprint']}, and "
            f"its weights are now {model.fingerprint}; train again, or restore them"
        )
    return Inspector(heads, model, about["n_points"], file_digest(path))


def detector_path(detector: str | Path) -> Path:
    """The file of a detector, given as in `load`.

    Raises:
        WeightsError: if there is none.
    """
    path = Path(detector).expanduser()
    if not path.is_file():
        path = CHECKPOINTS / str(detector) / "detector.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{detector}: neither a detector's file nor a name in {CHECKPOINTS}; train one with "
            "scripts/train.py and give the path that it prints"
        )
    return path


def calibration_path(detector: str | Path, given: str | Path | None = None) -> Path:
    """Where a detector's alarm thresholds are: in the given file, or else beside the detector.

    Raises:
        WeightsError: if there is no such detector.
    """
    if given is not None:
        return Path(given).expanduser()
    return detector_path(detector).with_suffix(".calibration.json")
