"""AUROC, average precision and F1: how well scores tell anomalous from normal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btp.metrics.checks import by_cloud, check_labels, check_scores
from btp.metrics.ground_truth import PointCounts
from btp.metrics.ranking import ScoreStream, SortedScores, detection_metrics


def object_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Measure how well one score per cloud tells anomalous clouds: AUROC, AP and largest F1.

    Args:
        labels: [B] bool or 0/1, True where the cloud is anomalous.
        scores: [B] finite, higher means more anomalous.

    Returns:
        `auroc`, `ap` and `f1max`, each in 0..1; all nan if only one label is present.

    Raises:
        DataError: Lengths differ, a label is not 0 or 1, or a score is not finite.

    >>> object_metrics([0, 1, 0, 1], [0.1, 0.9, 0.6, 0.5])
    {'auroc': 0.75, 'ap': 0.8333333333333333, 'f1max': 0.8}
    """
    anomalous = check_labels(labels, "object labels")
    values = check_scores(scores, len(anomalous), "object scores")
    return detection_metrics(
        SortedScores(values[anomalous]), ScoreStream(lambda: [(values, ~anomalous)])
    )


def point_metrics(
    labels: ArrayLike | Sequence[ArrayLike], scores: ArrayLike | Sequence[ArrayLike]
) -> dict[str, float]:
    """Measure how well scores tell anomalous points, all clouds pooled: AUROC and AP.

    Args:
        labels: [R] bool or 0/1, or a list of such, one a cloud and of any lengths.
        scores: Finite and of the same shapes, higher means more anomalous.

    Returns:
        `auroc` and `ap`, each in 0..1; both nan if only one label is present.

    Raises:
        DataError: Numbers of clouds or lengths differ, a label is not 0 or 1, or a score is not
            finite.

    >>> point_metrics([[0, 0, 1], [0, 1]], [[0.1, 0.4, 0.9], [0.5, 0.5]])
    {'auroc': 0.9166666666666667, 'ap': 0.8333333333333333}
    """
    anomalous, clouds = [], []
    for cloud_labels, cloud_scores, name in by_cloud(_as_clouds(labels), _as_clouds(scores)):
        is_anomalous = check_labels(cloud_labels, name)
        values = check_scores(cloud_scores, len(is_anomalous), name)
        anomalous.append(values[is_anomalous])
        clouds.append((values, is_anomalous))
    normal = ScoreStream(lambda: ((values, ~marks) for values, marks in clouds))
    return _point_metrics(SortedScores(np.concatenate(anomalous)), normal)


def point_metrics_from_counts(
    counts: Sequence[PointCounts], scores: Sequence[ArrayLike]
) -> dict[str, float]:
    """Compute `point_metrics` at raw resolution from the scores of the sampled points.

    Args:
        counts: One per cloud.
        scores: [N] finite per cloud, the scores of its sampled points.

    Returns:
        `auroc` and `ap` of the raw clouds; both nan if only one label is present.

    Raises:
        DataError: Numbers of clouds or lengths differ, or a score is not finite.

    >>> from btp.metrics import count_points
    >>> counts = count_points(nearest=[0, 0, 1, 1], region_ids=[0, 1, 1, 1], size=2)
    >>> point_metrics_from_counts([counts], [[0.2, 0.7]])["auroc"]  # (1/2 + 1 + 1) / 3
    0.8333333333333334
    """
    values = [check_scores(s, len(c.normal), name) for c, s, name in by_cloud(counts, scores)]
    return _point_metrics(
        SortedScores(np.concatenate(values), np.concatenate([c.anomalous for c in counts])),
        ScoreStream(lambda: ((v, c.normal) for v, c in zip(values, counts, strict=True))),
    )


def _point_metrics(anomalous: SortedScores, normal: ScoreStream) -> dict[str, float]:
    result = detection_metrics(anomalous, normal)
    return {name: result[name] for name in ("auroc", "ap")}


def _as_clouds(arrays: ArrayLike | Sequence[ArrayLike]) -> Sequence[NDArray]:
    """Return a list of clouds; one flat array or list of numbers is one cloud."""
    clouds = [np.asarray(cloud) for cloud in arrays]  # type: ignore[union-attr]
    return [np.asarray(arrays)] if clouds and not clouds[0].ndim else clouds
