"""Scores of single scans, for pictures: records keep metrics, so what is drawn is scored again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.evaluation.scoring import CategoryScores, evaluate
from btp.experiments.baselines import BaselinePlan
from btp.experiments.memory_options import MemoryOptions
from btp.experiments.protocol import Plan
from btp.experiments.record import RunRecord
from btp.experiments.runs import Run
from btp.experiments.score_baseline import baseline_scores
from btp.experiments.score_run import read_header, seen_category
from btp.experiments.workspace import Workspace
from btp.metrics import point_metrics
from btp.models.checkpoint import load_detector
from btp.recipe import Recipe
from btp.types import Sample


@dataclass(frozen=True)
class ScoredScans:
    """One method's scores of one category, without the features: all categories' would be too big.

    Attributes:
        samples: M entries of the dataset's listing.
        points: float32 [M, N, 3].
        labels: bool [M, N].
        object_scores: float32 [M].
        point_scores: float32 [M, N]; nan where the method scores objects only.
    """

    samples: tuple[Sample, ...]
    points: NDArray[np.float32]
    labels: NDArray[np.bool_]
    object_scores: NDArray[np.float32]
    point_scores: NDArray[np.float32]

    @classmethod
    def of(cls, scores: CategoryScores) -> ScoredScans:
        """Keep what is drawn of a category's scores."""
        data = scores.data
        return cls(
            samples=data.samples,
            points=data.features.points.numpy(),
            labels=data.labels.numpy(),
            object_scores=scores.object_scores,
            point_scores=scores.point_scores,
        )

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Whether each scan is defective by the dataset's listing: [M]."""
        return np.array([sample.is_anomalous for sample in self.samples])

    @property
    def scores_points(self) -> bool:
        """Whether there is anything to draw on the clouds."""
        return not bool(np.isnan(self.point_scores).all())

    def row(self, name: str) -> int | None:
        """Return the row of the scan of this name; None if it is not there."""
        names = [sample.name for sample in self.samples]
        return names.index(name) if name in names else None

    def point_auroc(self, row: int) -> float:
        """Measure one scan at its sampled points; nan where it has one label only or no scores."""
        if not self.scores_points:
            return float("nan")
        return point_metrics(self.labels[row], self.point_scores[row])["auroc"]

    def shown(self, row: int) -> NDArray[np.float32]:
        """Return a scan's point scores [N] on the scale of the pictures, 0..1.

        From the category's lowest score to its highest but for one in a thousand points, because
        the methods' own units (probabilities, distances) have nothing in common.
        """
        low, high = np.quantile(self.point_scores, [0.0, 0.999])
        return np.clip((self.point_scores[row] - low) / max(high - low, 1e-12), 0, 1)


def score_again(record: RunRecord, workspace: Workspace) -> dict[str, ScoredScans]:
    """Score the categories of a record once more.

    Args:
        record: of a run or baseline of the workspace's dataset and encoder.
        workspace: that it was made in.

    Returns:
        Category -> its scans' scores.

    Raises:
        BTPError: as `score_run` and `score_baseline`.
    """
    return {each.data.category: ScoredScans.of(each) for each in _scores(record, workspace)}


def _scores(record: RunRecord, workspace: Workspace) -> Iterable[CategoryScores]:
    dataset, sampling = workspace.dataset, (record.n_points, record.sampling_seed)
    if record.baseline is None:
        run = Run(Path(record.folder))
        detector = load_detector(run.detector_path)[0].to(workspace.model.device)
        seen = seen_category(read_header(run), dataset)
        return evaluate(detector, dataset, workspace.store(*sampling), seen)
    recipe = record.recipe or Recipe()
    plan = Plan(dataset.name, record.train_cat or "", record.seed, recipe, *sampling)
    options = MemoryOptions(record.fpfh_radii, record.registration)
    return baseline_scores(BaselinePlan(record.baseline, plan, options), workspace)
