"""AU-PRO and coverage AUC: how well the scores of points find the anomalous regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from btp.errors import ConfigError
from btp.metrics.checks import by_cloud, check_labels, check_region_ids, check_scores
from btp.metrics.ground_truth import PointCounts, region_shares, regions
from btp.metrics.ranking import ScoreStream, SortedScores, area, area_at_thresholds

COVERAGE_SHARES = 100
"""Places at which the released coverage AUC reads its curve."""


def aupro(
    points: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    fpr_limit: float = 0.3,
    thresholds: int | None = None,
) -> float:
    """Measure the area under a category's per-region overlap curve (Bergmann et al., IJCV 2021).

    At each threshold, the share of a region that scores above it, averaged over all regions of all
    clouds, is drawn over the share of all normal points that do (FPR). The area from FPR 0 to
    `fpr_limit` is divided by `fpr_limit`.

    Args:
        points: [R, 3] finite, per cloud; `regions` says which points are one region.
        labels: [R] bool or 0/1 per cloud, True where anomalous.
        scores: [R] finite per cloud, higher means more anomalous.
        fpr_limit: In (0, 1].
        thresholds: None is exact, with a threshold at every distinct score. A number takes that
            many, evenly spaced over the scores, as the authors' release does with 200.

    Returns:
        The area in 0..1; nan without a region or without a normal point.

    Raises:
        DataError: Numbers of clouds or shapes differ, a label is not 0 or 1, or a coordinate or
            score is not finite.
        ConfigError: `fpr_limit` or `thresholds` is out of range.
    """
    clouds = by_cloud(points, labels, scores)
    # A generator, so that only one cloud's region ids are held at a time.
    with_regions = ((regions(p, y, name), y, s, name) for p, y, s, name in clouds)
    return _aupro_of_clouds(with_regions, fpr_limit, thresholds)


def aupro_from_regions(
    region_ids: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    fpr_limit: float = 0.3,
    thresholds: int | None = None,
) -> float:
    """Compute `aupro` where the regions are known.

    Args:
        region_ids: integer [R] per cloud, as `regions` returns them; each cloud numbers its own.
        scores: [R] finite per cloud, higher means more anomalous.
        fpr_limit: As in `aupro`.
        thresholds: As in `aupro`.

    Returns:
        As `aupro`.

    Raises:
        DataError: Numbers of clouds or lengths differ, an id is negative or no integer, or a score
            is not finite.
        ConfigError: `fpr_limit` or `thresholds` is out of range.

    >>> scores = [[0.2, 0.9, 0.6, 0.5], [0.1, 0.3]]
    >>> aupro_from_regions([[0, 1, 0, 2], [0, 0]], scores, fpr_limit=0.5)
    0.75
    """
    clouds = ((ids, ids, s, name) for ids, s, name in by_cloud(region_ids, scores))
    return _aupro_of_clouds(clouds, fpr_limit, thresholds)


def aupro_from_counts(
    counts: Sequence[PointCounts],
    scores: Sequence[ArrayLike],
    fpr_limit: float = 0.3,
    thresholds: int | None = None,
) -> float:
    """Compute `aupro` at raw resolution from the scores of the sampled points.

    Args:
        counts: One per cloud.
        scores: [N] finite per cloud, the scores of its sampled points.
        fpr_limit: As in `aupro`.
        thresholds: As in `aupro`.

    Returns:
        As `aupro` of the raw clouds.

    Raises:
        DataError: Numbers of clouds or lengths differ, or a score is not finite.
        ConfigError: `fpr_limit` or `thresholds` is out of range.
    """
    values = [check_scores(s, len(c.normal), name) for c, s, name in by_cloud(counts, scores)]
    return _aupro(
        SortedScores(np.concatenate(values), np.concatenate([c.overlap for c in counts])),
        ScoreStream(lambda: ((v, c.normal) for v, c in zip(values, counts, strict=True))),
        fpr_limit,
        thresholds,
    )


def coverage_auc(labels: Sequence[ArrayLike], scores: Sequence[ArrayLike]) -> float:
    """Compute what the paper's tables print as P-PRO; it knows no regions, unlike `aupro`.

    Per cloud: points by falling score, the share of the anomalous points covered over the share of
    all points taken, read at 100 evenly spaced shares. The area is averaged over the clouds that
    hold an anomalous point. Tied points are covered together, so their order does not matter.

    Args:
        labels: [R] bool or 0/1 per cloud, True where anomalous.
        scores: [R] finite per cloud, higher means more anomalous.

    Returns:
        The mean area in 0..1; nan without an anomalous cloud.

    Raises:
        DataError: Numbers of clouds or lengths differ, a label is not 0 or 1, or a score is not
            finite.

    >>> coverage_auc([[1, 0], [0, 0]], [[0.9, 0.5], [0.3, 0.2]])  # half the points cover all
    1.0
    """
    grid = np.linspace(0, 1, COVERAGE_SHARES)
    areas = []
    for cloud_labels, cloud_scores, name in by_cloud(labels, scores):
        anomalous = check_labels(cloud_labels, name)
        values = check_scores(cloud_scores, len(anomalous), name)
        if not anomalous.any():
            continue
        _, tie, sizes = np.unique(-values, return_inverse=True, return_counts=True)
        density = np.bincount(tie, anomalous) / sizes  # tied points share their labels evenly
        covered = np.cumsum(np.repeat(density, sizes)) / np.count_nonzero(anomalous)
        taken = np.arange(1, len(values) + 1) / len(values)
        areas.append(np.trapezoid(np.interp(grid, taken, covered), grid))
    return float(np.mean(areas)) if areas else float("nan")


def _aupro_of_clouds(
    clouds: Iterable[tuple[Any, ...]], fpr_limit: float, thresholds: int | None
) -> float:
    """AU-PRO of clouds: (region ids, array that is 0 at normal points, scores, name) each."""
    anomalous, shares, marked = [], [], []
    for region_ids, marks, scores, name in clouds:
        ids = check_region_ids(region_ids, name)
        values = check_scores(scores, len(ids), name)
        anomalous.append(values[ids > 0])
        shares.append(region_shares(ids))
        marked.append((values, np.asarray(marks)))  # the caller's own arrays
    ranked = SortedScores(np.concatenate(anomalous), np.concatenate(shares))
    del anomalous, shares
    normal = ScoreStream(lambda: ((values, marks == 0) for values, marks in marked))
    return _aupro(ranked, normal, fpr_limit, thresholds)


def _aupro(
    anomalous: SortedScores, normal: ScoreStream, fpr_limit: float, thresholds: int | None
) -> float:
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"fpr_limit is {fpr_limit}; expected a share in (0, 1], such as 0.3.")
    if thresholds is not None and thresholds < 2:
        raise ConfigError(f"thresholds is {thresholds}; expected 2 or more, or None for all.")
    if not anomalous.total or not normal.total:
        return float("nan")
    if thresholds is None:
        return area(anomalous, normal, fpr_limit) / fpr_limit
    return area_at_thresholds(anomalous, normal, fpr_limit, thresholds) / fpr_limit
