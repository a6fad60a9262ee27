"""Areas under curves, exact at every threshold, from scores that are sorted once.

A threshold's place on any of the curves follows from the weight of the positives and of the
negatives that score above it. `Ranked.above` looks that up, so nothing here loops over thresholds,
and scores that many points share can stand once, weighted by their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ranked:
    """Scores in rising order, each with a weight.

    Args:
        values: [R] finite scores, a copy of the caller's own: it may be sorted in place.
        weights: [R], >= 0; scores of weight 0 are dropped. None: each weighs 1.

    Attributes:
        values: [n] the scores kept, in rising order.
        weights: float64 [n] in the same order; None where each weighs 1.
        total: the sum of the weights.
    """

    def __init__(self, values: NDArray[np.floating], weights: NDArray | None = None) -> None:
        self.weights: NDArray[np.float64] | None = None
        if weights is None:  # millions of points: sorting values is far cheaper than sorting rows
            values.sort()
            self.values = values
            self.total = float(len(values))
            return
        values, weights = values[weights > 0], weights[weights > 0]
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.weights = weights[order].astype(np.float64)
        self._below = np.concatenate([[0.0], np.cumsum(self.weights)])
        self.total = float(self._below[-1])

    def above(self, thresholds: NDArray, inclusive: bool = False) -> NDArray[np.float64]:
        """Total weight of the scores > (inclusive: >=) each threshold."""
        row = np.searchsorted(self.values, thresholds, "left" if inclusive else "right")
        below = row.astype(np.float64) if self.weights is None else self._below[row]
        return self.total - below


def detection_metrics(positive: Ranked, negative: Ranked) -> dict[str, float]:
    """AUROC, average precision and the largest F1; all nan without a positive or a negative."""
    if not positive.total or not negative.total:
        return dict.fromkeys(("auroc", "ap", "f1max"), float("nan"))
    # Precision and F1 are only needed at the positives' scores: any other threshold adds none.
    hits = positive.above(positive.values, inclusive=True)
    flagged = hits + negative.above(positive.values, inclusive=True)
    return {
        "auroc": area(positive, negative, 1.0),
        "ap": float(np.average(hits / flagged, weights=positive.weights)),
        "f1max": float((2 * hits / (positive.total + flagged)).max()),
    }


def area(positive: Ranked, negative: Ranked, limit: float) -> float:
    """Exact area under the share of positives over the share of negatives, from 0 to `limit`.

    Each positive adds a ramp of its own to the curve: it starts at the share of negatives above
    its score and reaches the positive's whole weight once the negatives tied with it are in.
    """
    start = negative.above(positive.values) / negative.total
    end = negative.above(positive.values, inclusive=True) / negative.total
    climbed = np.clip(limit - start, 0, end - start)
    ramp = np.divide(climbed**2, 2 * (end - start), where=end > start, out=np.zeros_like(start))
    return float(np.average(ramp + np.maximum(limit - end, 0), weights=positive.weights))


def area_at_thresholds(positive: Ranked, negative: Ranked, limit: float, count: int) -> float:
    """The same area as the authors' release approximates it.

    Of `count` thresholds, evenly spaced from the lowest score to the highest, those with equal
    share of negatives above them are one point of the curve, at the highest share of positives.
    The curve's end (1, 1), which no threshold reaches, is added.
    """
    low = min(positive.values[0], negative.values[0])
    high = max(positive.values[-1], negative.values[-1])
    cuts = np.linspace(low, high, count, dtype=np.float64)
    x = np.append(1.0, negative.above(cuts) / negative.total)
    y = np.append(1.0, positive.above(cuts) / positive.total)
    x, highest = np.unique(x, return_index=True)  # y never rises, so the first is the highest
    y = y[highest]
    inside = x < limit
    end = np.interp(limit, x, y)
    return float(np.trapezoid(np.append(y[inside], end), np.append(x[inside], limit)))
