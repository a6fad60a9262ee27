"""Areas under curves, exact at every threshold, from scores that are sorted once.

A threshold's place on any of the curves follows from the weight of the positives and of the
negatives that score above it. The positives are few and are kept sorted. The negatives are millions
of points, which nobody needs in one piece: they are sorted and counted block by block, at the
positives' scores. So nothing here loops over thresholds or copies all scores, and scores that many
points share can stand once, weighted by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 19
"""Scores sorted at a time: 4 MB, and few enough blocks to cost little."""
SAMPLED = 64
"""One score in so many is looked at to guess `ScoreStream.floor`."""
SURE = 2.0
"""Standard errors by which the guess stays on the safe side."""

Weighted = tuple[NDArray[np.floating], NDArray]
"""A cloud's scores [R], the caller's own array; and bool [R], which of them count, or weights."""


class SortedScores:
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
        self.total = float(self.weights.sum())

    def above(self, thresholds: NDArray, inclusive: bool = False) -> NDArray[np.float64]:
        """Return the total weight of the scores > (inclusive: >=) each threshold."""
        return self.total - self.up_to(thresholds, not inclusive)

    def up_to(self, thresholds: NDArray, inclusive: bool) -> NDArray:
        """Return the total weight of the scores < (inclusive: <=) each threshold."""
        row = np.searchsorted(self.values, thresholds, "right" if inclusive else "left")
        if self.weights is None:
            return row
        return np.concatenate([[0.0], np.cumsum(self.weights)])[row]

    def mean(self, values: NDArray[np.float64]) -> float:
        """Average `values` [n], one a score, by the scores' weights."""
        if self.weights is None:
            return float(values.mean())
        return float(values @ self.weights) / self.total


class ScoreStream:
    """Scores that are counted block by block, in any order and number, and never held in one piece.

    Args:
        clouds: gives all scores, cloud by cloud, each time that it is called; so what marks those
            that count need not be kept either.

    Attributes:
        total: the sum of the weights.
    """

    def __init__(self, clouds: Callable[[], Iterable[Weighted]]) -> None:
        self._clouds = clouds
        self.total = float(sum(weights.sum(dtype=np.float64) for _, weights in clouds()))

    def above(self, thresholds: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the total weights of the scores > and >= each of some rising thresholds."""
        above, at_least = np.zeros((2, len(thresholds)))
        for block in self._blocks(thresholds[0]):  # what is lower never counts
            above += block.above(thresholds)
            at_least += block.above(thresholds, inclusive=True)
        return above, at_least

    def floor(self, share: float) -> float:
        """Find a score above which at least this share of the weight lies, and hardly more.

        Guessed from a sample, and then counted; -inf if the guess was too high.
        """
        guess = self._floor_of_sample(share)
        above = sum(
            weights[scores > guess].sum(dtype=np.float64) for scores, weights in self._clouds()
        )
        return guess if above >= share * self.total else -np.inf

    def _floor_of_sample(self, share: float) -> float:
        if share >= 1:
            return -np.inf
        # a copy: a view would keep all the weights, which are made anew each time
        sample = [(s[::SAMPLED], weights[::SAMPLED].copy()) for s, weights in self._clouds()]
        values, weights = (np.concatenate(each) for each in zip(*sample, strict=True))
        order = np.argsort(values)[::-1]
        falling = weights[order].astype(np.float64)
        reached = falling.cumsum()
        error = np.sqrt(share * (1 - share) * (falling @ falling)) / max(reached[-1], 1.0)
        row = int(np.searchsorted(reached, (share + SURE * error) * reached[-1]))
        return float(values[order[row]]) if row < len(order) else -np.inf

    def limits(self) -> tuple[float, float]:
        """Return the lowest and the highest score; there must be one."""
        ends = [(block.values[0], block.values[-1]) for block in self._blocks(-np.inf)]
        lowest, highest = zip(*ends, strict=True)
        return float(min(lowest)), float(max(highest))

    def _blocks(self, lowest: float) -> Iterator[SortedScores]:
        """All scores >= `lowest`, of about `BLOCK` at a time."""
        values: list[NDArray] = []
        weights: list[NDArray] = []
        for scores, each in self._clouds():
            for start in range(0, len(scores), BLOCK):
                some, part = scores[start : start + BLOCK], each[start : start + BLOCK]
                counts = (part > 0) & (some >= lowest)
                values.append(some[counts])
                if part.dtype != bool:
                    weights.append(part[counts])
                if sum(map(len, values)) >= BLOCK:
                    yield _joined(values, weights)
        if any(map(len, values)):
            yield _joined(values, weights)


def _joined(values: list[NDArray], weights: list[NDArray]) -> SortedScores:
    """Sort what was gathered, and leave the lists empty."""
    block = np.concatenate(values)
    values.clear()
    ranked = SortedScores(block, np.concatenate(weights) if weights else None)
    weights.clear()
    return ranked


def detection_metrics(positive: SortedScores, negative: ScoreStream) -> dict[str, float]:
    """Compute AUROC, average precision and largest F1; all nan without a positive or a negative."""
    if not positive.total or not negative.total:
        return dict.fromkeys(("auroc", "ap", "f1max"), float("nan"))
    # Precision and F1 are only needed at the positives' scores: any other threshold adds none.
    above, at_least = negative.above(positive.values)
    hits = positive.above(positive.values, inclusive=True)
    flagged = hits + at_least
    return {
        "auroc": positive.mean(_ramps(above / negative.total, at_least / negative.total, 1.0)),
        "ap": positive.mean(hits / flagged),
        "f1max": float((2 * hits / (positive.total + flagged)).max()),
    }


def area(positive: SortedScores, negative: ScoreStream, limit: float) -> float:
    """Integrate the share of positives over the share of negatives, from 0 to `limit`, exactly."""
    # Positives this low are reached beyond the limit and add nothing.
    first = int(np.searchsorted(positive.values, negative.floor(limit), "right"))
    if first == len(positive.values):
        return 0.0
    above, at_least = negative.above(positive.values[first:])
    above /= negative.total
    at_least /= negative.total
    ramps = np.zeros(len(positive.values))
    ramps[first:] = _ramps(above, at_least, limit)
    return positive.mean(ramps)


def _ramps(start: NDArray, end: NDArray, limit: float) -> NDArray[np.float64]:
    """What each positive adds to the area: a ramp.

    It starts at the share of negatives above its score and reaches the
    positive's whole weight once the negatives tied with it are in.
    """
    width = end - start
    ramp = np.clip(limit - start, 0, width)  # how far it climbs before the limit
    ramp *= ramp
    np.divide(ramp, 2 * width, where=width > 0, out=ramp)
    ramp += np.maximum(limit - end, 0)
    return ramp


def area_at_thresholds(
    positive: SortedScores, negative: ScoreStream, limit: float, count: int
) -> float:
    """Integrate like `area`, but as the authors' release does: at evenly spaced thresholds.

    Of `count` thresholds, evenly spaced from the lowest score to the highest, those with equal
    share of negatives above them are one point of the curve, at the highest share of positives.
    The curve's end (1, 1), which no threshold reaches, is added.
    """
    low, high = negative.limits()
    low, high = min(low, positive.values[0]), max(high, positive.values[-1])
    cuts = np.linspace(low, high, count, dtype=np.float64)
    x = np.append(1.0, negative.above(cuts)[0] / negative.total)
    y = np.append(1.0, positive.above(cuts) / positive.total)
    x, highest = np.unique(x, return_index=True)  # y never rises, so the first is the highest
    y = y[highest]
    inside = x < limit
    end = np.interp(limit, x, y)
    return float(np.trapezoid(np.append(y[inside], end), np.append(x[inside], limit)))
