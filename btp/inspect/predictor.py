"""Scoring a person's own scans: `btp.load(...)`, `detector.predict(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.coverage import Coverage, cover
from btp.data.prepare import prepare
from btp.data.reading import RawScan, Scan, read_scan
from btp.errors import DataError, WeightsError
from btp.geometry.local_geometry import contrast, surface_features
from btp.geometry.points import batches, nearest_rows
from btp.models.checkpoint import load_detector
from btp.models.detector import Detector
from btp.models.point_language import PointLanguageModel
from btp.runtime.cuda_graph import Captured
from btp.runtime.files import file_digest, file_size
from btp.runtime.threads import BYTES_IN_WORK, core_count, map_within
from btp.types import N_POINTS, Cloud, Prediction

BATCH = 8
COVERAGE: Coverage = "dense"
"""What is done where nothing else is asked for. On synthetic defects of 0.2 to 0.5 % of a scan,
dense found more with `mini` (AU-PRO 61 for 57 % at 26 k points, 60 for 54 % at 100 k) for three
times the work of preparing and scoring, which is less than a picture costs."""
CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


@dataclass(frozen=True)
class ReadyScan:
    """A scan with all that the encoder needs, in V samplings of N points.

    Attributes:
        scan: as it was read.
        points: float32 [V, N, 3], sampled from the surface, in the unit sphere.
        channels: float32 [V, N, F] of `btp.geometry.local_geometry`; None where nothing uses them.
        surface_rows: int32 [V, M], row of the nearest sampled point to each of `scan.surface`.
        valid_rows: int [V, P], and to each of the P valid points of the scan.
        repeated: M < N, so points were sampled with repetition.
        spacing: as in `Prediction`.
    """

    scan: RawScan
    points: NDArray[np.float32]
    channels: torch.Tensor | None
    surface_rows: NDArray[np.integer]
    valid_rows: NDArray[np.integer]
    repeated: bool
    spacing: float


@dataclass(frozen=True)
class ScoredScan:
    """What a detector says of a scan.

    Attributes:
        scan: as it was read.
        object_score: in 0..1.
        point_scores: float32 [R], in 0..1; nan at rows that are not valid.
        surface_scores: float32 [M], of the points of `scan.surface`.
        repeated, spacing: as in `ReadyScan`.
    """

    scan: RawScan
    object_score: float
    point_scores: NDArray[np.float32]
    surface_scores: NDArray[np.float32]
    repeated: bool
    spacing: float


class Inspector:
    """A trained detector with its encoder: scans in, scores for every point out.

    Attributes:
        precision: of the products: "float32", "bfloat16", or "rounded" (`PointBERT.rounded`).
    """

    def __init__(
        self,
        detector: Detector,
        model: PointLanguageModel,
        n_points: int = N_POINTS,
        digest: str = "",
        bfloat16: bool | None = None,
    ) -> None:
        """Join detector and encoder.

        Args:
            detector: trained on the model's features.
            model: encoder.
            n_points: sampled from each scan.
            digest: tells this detector from all others; kept with results and thresholds.
            bfloat16: True to multiply all in 16 bit: faster, and scores move, those of `mini` by up
                to 0.024, so thresholds must be calibrated with it. False for float32. None for
                16 bit where scores move by less than 0.002 (`PointBERT.rounded`), on processors
                that have such products, and float32 elsewhere.
        """
        self.detector = detector.to(model.device)
        self.precision = "bfloat16" if bfloat16 else "float32"
        if bfloat16 is None and model.gains_by_rounding:
            self.precision = "rounded"
        self._folded = self.detector.eval().fold()
        self._captured = Captured(self._model_scores)
        self.model = model
        self.n_points = n_points
        self.digest = digest
        self.reads_channels = model.reads_surface or detector.recipe.gfcm_input == "surface"

    @overload
    def predict(self, scans: Scan, coverage: Coverage = ...) -> Prediction: ...

    @overload
    def predict(self, scans: list[Scan], coverage: Coverage = ...) -> list[Prediction]: ...

    def predict(
        self, scans: Scan | list[Scan], coverage: Coverage = COVERAGE
    ) -> Prediction | list[Prediction]:
        """Score one scan or several.

        Args:
            scans: a file of any readable format, an array [R, 3] in any unit, or a list of either.
            coverage: "sampled" looks at `n_points` of each scan; "dense" at four times as many, in
                samplings that are scored one by one and averaged, which takes three times as long.

        Returns:
            A prediction, or a list of them; each with one score for every point, in its order, and
            nan for rows that are no measured points.

        Raises:
            DataError: if a scan cannot be read or used; it is named.
            ConfigError: if `coverage` is neither.
        """
        if isinstance(scans, str | Path | np.ndarray):
            return self.predict([scans], coverage)[0]
        scored: list[ScoredScan] = []
        workers = min(BATCH, core_count())
        for chunk in batches(len(scans), BATCH):
            some = scans[chunk]
            sizes = [s.nbytes if isinstance(s, np.ndarray) else file_size(Path(s)) for s in some]
            ready = map_within(
                lambda scan: self.ready(scan, coverage), some, sizes, BYTES_IN_WORK, workers
            )
            scored += self.score(list(ready))
        return [
            Prediction(s.scan.name, s.point_scores, s.object_score, s.repeated, s.spacing)
            for s in scored
        ]

    def ready(self, scan: Scan, coverage: Coverage = COVERAGE) -> ReadyScan:
        """Read, sample and describe a scan: all the work before the encoder, in any thread.

        Raises:
            DataError: if it cannot be read or used.
            ConfigError: if `coverage` is none that `btp.data.coverage` knows.
        """
        read = read_scan(scan)
        prepared = prepare(Cloud(read.surface, name=read.name), self.n_points)
        samplings = cover(prepared, coverage)
        channels = self._channels(prepared.dense, samplings.points)
        valid_rows: NDArray[np.integer] = samplings.nearest
        if read.sampled:
            vertices = (read.points[read.valid] - prepared.centre) / prepared.scale
            valid_rows = np.stack([nearest_rows(vertices, each) for each in samplings.points])
        return ReadyScan(
            read,
            samplings.points,
            channels,
            samplings.nearest,
            valid_rows,
            prepared.repeated,
            samplings.spacing,
        )

    def _channels(
        self, dense: NDArray[np.float32], points: NDArray[np.float32]
    ) -> torch.Tensor | None:
        """Local geometry of samplings [V, N, 3] of a cloud: [V, N, F]; None if unused."""
        if not self.reads_channels:
            return None
        # The dense surface is the same for all samplings, and described once.
        features = surface_features(dense, points.reshape(-1, 3)).reshape(*points.shape[:2], -1)
        described = np.stack([np.concatenate([each, contrast(each)], 1) for each in features])
        # 16 bit, as the heads saw them while they were trained from the feature store
        return torch.from_numpy(described).half().float()

    def score(self, batch: Sequence[ReadyScan]) -> list[ScoredScan]:
        """Score scans that are ready, as one batch.

        Raises:
            DataError: if the model gives no finite score for one of them.
        """
        points = torch.cat([torch.from_numpy(ready.points) for ready in batch])
        given = [ready.channels for ready in batch if ready.channels is not None]
        objects, values = self._score(points, torch.cat(given) if given else None)
        ends = np.cumsum([len(ready.points) for ready in batch])[:-1]
        parts = zip(batch, np.split(objects, ends), np.split(values, ends), strict=True)
        return [_scored(*part) for part in parts]

    def _score(
        self, points: torch.Tensor, channels: torch.Tensor | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Object scores [B] and point scores [B, N] of samplings [B, N, 3], some at a time."""
        device, objects, values = self.model.device, [], []
        inputs = [points] if channels is None else [points, channels]
        with torch.inference_mode():
            for some in batches(len(points), BATCH):
                of_objects, of_points = self._captured(*(each[some].to(device) for each in inputs))
                objects.append(of_objects.cpu().numpy())
                values.append(of_points.cpu().numpy())
        return np.concatenate(objects), np.concatenate(values)

    def _model_scores(
        self, points: torch.Tensor, channels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        half, rounded = self.precision == "bfloat16", self.precision == "rounded"
        with torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            scores = self._folded(self.model.encode(points, channels, rounded=rounded))
        return scores.object_scores.float(), scores.point_scores.float()


def _scored(
    ready: ReadyScan, objects: NDArray[np.float32], values: NDArray[np.float32]
) -> ScoredScan:
    """Average over the samplings: object scores [V], point scores [V, N]."""
    scan = ready.scan
    if not (np.isfinite(values).all() and np.isfinite(objects).all()):
        raise DataError(
            f"{scan.name or 'the scan'}: the model gives no finite score for it, so its shape is "
            "none it can judge; look at the scan, and report it with the file if it is sound"
        )
    point_scores = np.full(len(scan.points), np.nan, np.float32)
    point_scores[scan.valid] = _mean(values, ready.valid_rows)
    surface_scores = _mean(values, ready.surface_rows)
    object_score = float(objects.mean())
    return ScoredScan(
        scan, object_score, point_scores, surface_scores, ready.repeated, ready.spacing
    )


def _mean(values: NDArray[np.float32], rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """Mean over samplings of `values` [V, N] at `rows` [V, R]: [R]; one sampling at a time."""
    total = values[0][rows[0]]
    for each, at in zip(values[1:], rows[1:], strict=True):
        total += each[at]
    return total / np.float32(len(values))


def load(
    detector: str | Path = "mini",
    device: torch.device | str = "cpu",
    bfloat16: bool | None = None,
) -> Inspector:
    """Load a detector, ready for any scan.

    Args:
        detector: path of a file that scripts/train.py wrote; or the name of a detector that comes
            with the project, a folder in checkpoints/.
        device: to run on.
        bfloat16: as in `Inspector`.

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
    return Inspector(heads, model, about["n_points"], file_digest(path), bfloat16)


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
