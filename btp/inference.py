"""Scoring a person's own scans: `btp.load(...)`, `detector.predict(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.formats import read_points
from btp.data.prepare import N_POINTS, prepare
from btp.errors import WeightsError
from btp.models.detector import Detector
from btp.surface import surface_channels
from btp.types import Cloud, Prediction, Prepared
from btp.weights.models import PointLanguageModel, load_detector

BATCH = 8
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"

Scan = str | Path | NDArray[np.floating]


class Inspector:
    """A trained detector with its encoder: scans in, scores for every point out."""

    def __init__(
        self, detector: Detector, model: PointLanguageModel, n_points: int = N_POINTS
    ) -> None:
        self.detector = detector.to(model.device)
        self.model = model
        self.n_points = n_points
        self._surface = model.reads_surface or detector.recipe.gfcm_input == "surface"

    @overload
    def predict(self, scans: Scan) -> Prediction: ...

    @overload
    def predict(self, scans: list[Scan]) -> list[Prediction]: ...

    def predict(self, scans: Scan | list[Scan]) -> Prediction | list[Prediction]:
        """Score one scan or several.

        Args:
            scans: a file of any readable format, an array [R, 3] in any unit, or a list of either.

        Returns:
            A prediction, or a list of them; each with one score for every point, in its order.

        Raises:
            DataError: if a scan cannot be read or used; it is named.
        """
        if isinstance(scans, str | Path | np.ndarray):
            return self._predict([scans])[0]
        return [
            prediction
            for start in range(0, len(scans), BATCH)
            for prediction in self._predict(scans[start : start + BATCH])
        ]

    def _predict(self, scans: Sequence[Scan]) -> list[Prediction]:
        clouds = [_cloud(scan) for scan in scans]
        prepared = [prepare(cloud, self.n_points) for cloud in clouds]
        points = torch.stack([torch.from_numpy(p.points) for p in prepared])
        surface = None
        if self._surface:
            # 16 bit, as the feature store keeps them: a scan scores alike here and there
            surface = torch.stack([_surface(p) for p in prepared]).half().float()
        device = self.model.device
        with torch.inference_mode():
            extra = None if surface is None else surface.to(device)
            features = self.model.encode(points.to(device), extra)
            scores = self.detector(features)
        return [
            Prediction(cloud.name, point_scores[p.nearest], float(object_score), p.repeated)
            for cloud, p, point_scores, object_score in zip(
                clouds,
                prepared,
                scores.point_scores.float().cpu().numpy(),
                scores.object_scores,
                strict=True,
            )
        ]


def _cloud(scan: Scan) -> Cloud:
    if isinstance(scan, np.ndarray):
        return Cloud(scan)
    return Cloud(read_points(scan), name=str(scan))


def _surface(prepared: Prepared) -> torch.Tensor:
    return torch.from_numpy(surface_channels(prepared.dense, prepared.points))


def load(detector: str | Path = "mini", device: torch.device | str = "cpu") -> Inspector:
    """Load a detector, ready for any scan.

    Args:
        detector: path of a file that scripts/train.py wrote; or the name of a detector that comes
            with the project, a folder in checkpoints/.
        device: to run on.

    Raises:
        WeightsError: if there is no such detector, or its encoder's weights have changed since.
    """
    path = Path(detector)
    if not path.is_file():
        path = CHECKPOINTS / str(detector) / "detector.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{detector}: neither a detector's file nor a name in {CHECKPOINTS}; train one with "
            "scripts/train.py and give the path that it prints"
        )
    heads, encoder, about = load_detector(path)
    model = PointLanguageModel(encoder, device)
    if about["encoder_fingerprint"] != model.fingerprint:
        raise WeightsError(
            f"{path}: was trained on encoder {encoder.name} {about['encoder_fingerprint']}, and "
            f"its weights are now {model.fingerprint}; train again, or restore them"
        )
    return Inspector(heads, model, about["n_points"])
