"""Score a person's own scans: `btp.load(...)`, `detector.predict(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.coverage import Coverage, cover
from btp.data.prepare import prepare
from btp.data.reading import Scan, read_scan
from btp.errors import WeightsError
from btp.geometry.local_geometry import local_geometry, surface_channels
from btp.geometry.neighbours import nearest_rows
from btp.inspect.scan import ReadyScan, ScoredScan, average_samplings
from btp.models.checkpoint import load_detector
from btp.models.detector import Detector
from btp.models.fast import for_encoding, for_scoring
from btp.models.point_language import PointLanguageModel
from btp.runtime.batches import batches
from btp.runtime.cuda_graph import Captured
from btp.runtime.files import file_digest, file_size
from btp.runtime.own_files import own_file
from btp.runtime.processor import gains_by_rounding
from btp.runtime.threads import BYTES_IN_WORK, core_count, map_within
from btp.types import N_POINTS, Cloud, Prediction

BATCH = 8
COVERAGE: Coverage = "dense"
"""The default. On synthetic defects of 0.2 to 0.5 % of a scan,
dense found more with `mini` (AU-PRO 61 for 57 % at 26 k points, 60 for 54 % at 100 k) for three
times the work of preparing and scoring, which is less than a picture costs."""
CHECKPOINTS = own_file("checkpoints")


class Inspector:
    """A trained detector with its encoder: scans in, scores for every point out.

    Attributes:
        precision: of the products: "float32", "bfloat16", or "rounded" (`fast.accelerated`).
    """

    def __init__(
        self,
        detector: Detector,
        model: PointLanguageModel,
        n_points: int = N_POINTS,
        digest: str = "",
        bfloat16: bool | None = None,
    ) -> None:
        """Combine a detector with its encoder.

        Args:
            detector: trained on the model's features.
            model: encoder.
            n_points: sampled from each scan.
            digest: identifies the detector in results and thresholds.
            bfloat16: True to multiply everything in 16 bit. That is faster, and scores move, those
                of `mini` by up to 0.024, so thresholds must be calibrated with it. False for
                float32. None for 16 bit where scores move by less than 0.002
                (`fast.accelerated`), on processors that have such products, and float32 elsewhere.
        """
        self.detector = detector.to(model.device)
        self.precision = "bfloat16" if bfloat16 else "float32"
        if bfloat16 is None and gains_by_rounding(model.device):
            self.precision = "rounded"
        # the same scores, to rounding, in a fraction of the work
        self._detector = for_scoring(self.detector.eval())
        self._encoder = for_encoding(model, rounded=self.precision == "rounded")
        self._captured = Captured(self._model_scores)
        self.model = model
        self.n_points = n_points
        self.digest = digest
        self.reads_channels = model.reads_surface or detector.config.reads_surface

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
            coverage: "sampled" scores `n_points` of each scan. "dense" scores four times as many,
                in samplings that are scored one by one and averaged, and takes three times as long.

        Returns:
            A prediction, or a list of them. Each has one score for every point, in the scan's
            order, and nan for rows that are no measured points.

        Raises:
            DataError: if a scan cannot be read or used; the message names it.
            ConfigError: if `coverage` is neither "sampled" nor "dense".
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
        """Read, sample and describe a scan: all work before the encoder, safe in any thread.

        Raises:
            DataError: if it cannot be read or used.
            ConfigError: if `coverage` is not one of `btp.data.coverage.COVERAGES`.
        """
        read = read_scan(scan)
        prepared = prepare(Cloud(read.judged, name=read.name), self.n_points)
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
        """Describe the local geometry at samplings [V, N, 3]: [V, N, F]; None if it is not used."""
        if not self.reads_channels:
            return None
        # The dense surface is the same for all samplings, and described once.
        geometry = local_geometry(dense, points.reshape(-1, 3)).reshape(*points.shape[:2], -1)
        # 16 bit, as the heads saw them while they were trained from the feature store
        return torch.from_numpy(surface_channels(geometry)).half().float()

    def score(self, batch: Sequence[ReadyScan]) -> list[ScoredScan]:
        """Score prepared scans as one batch.

        Raises:
            DataError: if the model gives a score that is not finite.
        """
        points = torch.cat([torch.from_numpy(ready.points) for ready in batch])
        channels = [ready.channels for ready in batch if ready.channels is not None]
        objects, values = self._score(points, torch.cat(channels) if channels else None)
        ends = np.cumsum([len(ready.points) for ready in batch])[:-1]
        by_scan = zip(batch, np.split(objects, ends), np.split(values, ends), strict=True)
        return [average_samplings(*each) for each in by_scan]

    def _score(
        self, points: torch.Tensor, channels: torch.Tensor | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return object scores [B] and point scores [B, N] of samplings [B, N, 3], in batches."""
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
        half = self.precision == "bfloat16"
        with torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            scores = self._detector(self._encoder.encode(points, channels))
        return scores.object_scores.float(), scores.point_scores.float()


def load(
    detector: str | Path = "mini",
    device: torch.device | str = "cpu",
    bfloat16: bool | None = None,
) -> Inspector:
    """Load a detector that can score any scan.

    Args:
        detector: path of a file that scripts/train.py wrote; or the name of a detector that comes
            with the project, a folder in checkpoints/.
        device: to run on.
        bfloat16: as in `Inspector`.

    Raises:
        WeightsError: if there is no such detector, or its encoder's weights have changed since.
    """
    path = detector_path(detector)
    trained = load_detector(path)
    encoder, about = trained.encoder, trained.about
    model = PointLanguageModel(encoder, device)
    if about["encoder_fingerprint"] != model.fingerprint:
        raise WeightsError(
            f"{path}: was trained on encoder {encoder.name} {about['encoder_fingerprint']}, and "
            f"its weights are now {model.fingerprint}; train again, or restore them"
        )
    return Inspector(trained.detector, model, about["n_points"], file_digest(path), bfloat16)


def detector_path(detector: str | Path) -> Path:
    """Return the path of a detector's file.

    Args:
        detector: as in `load`.

    Raises:
        WeightsError: if there is no such detector.
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
    """Return the path of a detector's alarm thresholds: as given, or else beside the detector.

    Those of a detector that comes with the project are in the working folder, in outputs/: the
    package may be anywhere, and may not be writable.

    Raises:
        WeightsError: if there is no such detector.
    """
    if given is not None:
        return Path(given).expanduser()
    path = detector_path(detector)
    if not Path(detector).expanduser().is_file():
        return Path("outputs") / f"{path.parent.name}.calibration.json"
    return path.with_suffix(".calibration.json")
