"""AU-PRO the plain way: neighbour lists in Python, and 200 thresholds over all points."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from btp.metrics.ground_truth import NEIGHBOURS, REACH

THRESHOLDS = 200


def regions(points: NDArray, labels: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Find the rows of each connected anomalous region by a walk over lists of neighbours."""
    from scipy.spatial import cKDTree

    rows = np.flatnonzero(labels)
    if len(rows) < 2:
        return [rows] if len(rows) else []
    tree = cKDTree(points[rows])
    distance = tree.query(points[rows], k=min(NEIGHBOURS + 1, len(rows)))[0][:, 1:]
    neighbours = tree.query_ball_point(points[rows], REACH * np.median(distance))
    seen = [False] * len(rows)
    found = []
    for first in range(len(rows)):
        if seen[first]:
            continue
        seen[first] = True
        waiting, members = deque([first]), []
        while waiting:
            row = waiting.popleft()
            members.append(row)
            for other in neighbours[row]:
                if not seen[other]:
                    seen[other] = True
                    waiting.append(other)
        found.append(rows[np.array(members)])
    return found


def aupro(
    points: Sequence[NDArray],
    labels: Sequence[NDArray[np.bool_]],
    scores: Sequence[NDArray[np.float32]],
    limit: float = 0.3,
) -> float:
    """Integrate per-region overlap over the pooled false-positive rate by 200 thresholds."""
    pooled, truth = np.concatenate(scores), np.concatenate(labels)
    normal = pooled[~truth]
    found = [
        each[rows]
        for cloud, marks, each in zip(points, labels, scores, strict=True)
        for rows in regions(cloud, marks)
    ]
    curve: dict[float, float] = {1.0: 1.0}
    # A threshold of 64 bits, as the scores have 32: NumPy would round a plain float to the scores'.
    for threshold in np.linspace(pooled.min(), pooled.max(), THRESHOLDS, dtype=np.float64):
        false = float((normal > threshold).mean())
        overlap = float(np.mean([(region > threshold).mean() for region in found]))
        curve[false] = max(overlap, curve.get(false, 0.0))
    x, y = np.array(sorted(curve.items())).T
    inside = x < limit
    end = np.interp(limit, x, y)
    area = np.trapezoid(np.append(y[inside], end), np.append(x[inside], limit))
    return float(area / limit)


def point_metrics(
    labels: Sequence[NDArray[np.bool_]], scores: Sequence[NDArray[np.float32]]
) -> dict[str, float]:
    """Compute AUROC and average precision of all points by scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, pooled = np.concatenate(labels), np.concatenate(scores)
    return {
        "auroc": float(roc_auc_score(truth, pooled)),
        "ap": float(average_precision_score(truth, pooled)),
    }
