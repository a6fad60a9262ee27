"""Scoring the unseen categories, and the metrics of each (paper, Sec. 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from btp import metrics
from btp.data.dataset import Dataset
from btp.features.store import FeatureSet, FeatureStore, Wanted
from btp.models.detector import Detector
from btp.models.fast import for_scoring
from btp.runtime.batches import batches
from btp.types import Features, Scores

BATCH = 8
METRICS = (
    "object_auroc",
    "object_ap",
    "object_f1max",
    "point_auroc",
    "point_ap",
    "aupro",
    "coverage_auc",
    "raw_point_auroc",
    "raw_point_ap",
    "raw_aupro",
)
"""All that is measured, in the order of the tables: at the sampled points, and with `raw_` at every
point of the scan. `coverage_auc` is what the paper's tables call P-PRO (D4)."""


@dataclass(frozen=True)
class CategoryScores:
    """The scores of all clouds of one category.

    Attributes:
        data: what was scored.
        object_scores: float32 [M].
        point_scores: float32 [M, N].
    """

    data: FeatureSet
    object_scores: NDArray[np.float32]
    point_scores: NDArray[np.float32]

    def measure(self, thresholds: int | None = None) -> dict[str, float]:
        """All metrics of the category; nan where its scans have one label only.

        Where all point scores are nan, as of a method that scores objects only, so are the metrics
        of points.

        Args:
            thresholds: None for exact AU-PRO, or a number of linear thresholds (the release: 200).
        """
        data, values = self.data, list(self.point_scores)
        objects = metrics.object_metrics(data.is_anomalous.numpy(), self.object_scores)
        if np.isnan(self.point_scores).all():
            named = {f"object_{name}": value for name, value in objects.items()}
            return dict.fromkeys(METRICS, math.nan) | named
        labels, regions = list(data.labels.numpy()), list(data.region_ids.numpy())
        points = metrics.point_metrics(labels, values)
        raw = metrics.point_metrics_from_counts(data.counts, values)
        return {
            **{f"object_{name}": value for name, value in objects.items()},
            **{f"point_{name}": value for name, value in points.items()},
            "aupro": metrics.aupro_from_regions(regions, values, thresholds=thresholds),
            "coverage_auc": metrics.coverage_auc(labels, values),
            **{f"raw_point_{name}": value for name, value in raw.items()},
            "raw_aupro": metrics.aupro_from_counts(data.counts, values, thresholds=thresholds),
        }


def score(
    detector: Callable[[Features], Scores], data: FeatureSet, device: torch.device | str = "cpu"
) -> CategoryScores:
    """Score every cloud of a set with a detector, or anything called like one.

    `btp.models.fast.for_scoring` gives a detector's form that does so quickest.
    """
    objects, points = [], []
    with torch.inference_mode():
        for chunk in batches(len(data), BATCH):
            scores = detector(data.batch(chunk, device)[0])
            objects.append(scores.object_scores.float().cpu())
            points.append(scores.point_scores.float().cpu())
    return CategoryScores(data, torch.cat(objects).numpy(), torch.cat(points).numpy())


def evaluate(
    detector: Detector, dataset: Dataset, store: FeatureStore, seen: str | None
) -> Iterator[CategoryScores]:
    """Score the categories that a detector has not seen, one by one.

    Args:
        detector: on the store's device.
        dataset: to score.
        store: of the detector's encoder.
        seen: the train category, which is neither loaded nor scored; None if it is not of this
            dataset.
    """
    surface = detector.config.reads_surface
    scorer = for_scoring(detector)  # the same scores in a fraction of the work
    for category in dataset.categories:
        if category != seen:
            data = store.load(dataset, category, "test", Wanted(surface=surface))
            yield score(scorer, data, store.model.device)


def mean_over_categories(rows: Sequence[dict[str, float]]) -> dict[str, tuple[float, list[int]]]:
    """Mean of each metric over the categories that define it.

    Returns:
        For each metric the mean, and the positions of the rows that were left out as nan.
    """
    result = {}
    for name in METRICS:
        values = np.array([row[name] for row in rows], dtype=float)
        left_out = np.flatnonzero(np.isnan(values)).tolist()
        known = values[~np.isnan(values)]
        result[name] = (float(known.mean()) if len(known) else float("nan"), left_out)
    return result
