"""Which scans of a scored dataset to show: chosen by name, or the best and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btp.errors import DataError
from btp.evaluation.scoring import CategoryScores
from btp.metrics import point_metrics
from btp.types import Sample


@dataclass(frozen=True)
class Scored:
    """One method's scores on one category, without the features: all categories' would be too big.

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
    def of(cls, scores: CategoryScores) -> Scored:
        """What is needed of a category's scores."""
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
        """Of each scan by the dataset's listing: [M]."""
        return np.array([sample.is_anomalous for sample in self.samples])

    @property
    def scores_points(self) -> bool:
        """Whether there is anything to draw on the clouds."""
        return not bool(np.isnan(self.point_scores).all())

    def row(self, name: str) -> int | None:
        """Of the scan of this name."""
        names = [sample.name for sample in self.samples]
        return names.index(name) if name in names else None

    def point_auroc(self, row: int) -> float:
        """Of one scan, at its sampled points; nan where it has one label only or no scores."""
        if not self.scores_points:
            return float("nan")
        return point_metrics(self.labels[row], self.point_scores[row])["auroc"]

    def shown(self, row: int) -> NDArray[np.float32]:
        """Point scores [N] on the scale of the pictures, 0..1.

        From the category's lowest score to its highest but for one in a thousand points, because
        the methods' own units (probabilities, distances) have nothing in common.
        """
        low, high = np.quantile(self.point_scores, [0.0, 0.999])
        return np.clip((self.point_scores[row] - low) / max(high - low, 1e-12), 0, 1)


@dataclass(frozen=True)
class Example:
    """A scan to show.

    Attributes:
        category: its category.
        row: in that category's `Scored`.
        remark: why it is shown.
    """

    category: str
    row: int
    remark: str = ""


def by_point_auroc(scored: Mapping[str, Scored]) -> list[tuple[float, str, int]]:
    """Point AUROC, category and row of every defective scan that has one, the lowest first."""
    return sorted(
        (auroc, category, row)
        for category, scores in scored.items()
        for row in np.flatnonzero(scores.anomalous).tolist()
        if not np.isnan(auroc := scores.point_auroc(row))
    )


def best_and_worst(scored: Mapping[str, Scored], best: int, worst: int) -> list[Example]:
    """The defective scans of highest and of lowest point AUROC, no category twice.

    Args:
        scored: by category.
        best: number of scans, shown first, the highest first.
        worst: number of scans; the lowest last.
    """
    ranked = by_point_auroc(scored)
    taken: set[str] = set()

    def pick(order: Sequence[tuple[float, str, int]], count: int, remark: str) -> list[Example]:
        picked: list[Example] = []
        for _, category, row in order:
            if len(picked) < count and category not in taken:
                taken.add(category)
                picked.append(Example(category, row, remark))
        return picked

    return pick(ranked[::-1], best, "best") + pick(ranked, worst, "worst")[::-1]


def by_name(scored: Mapping[str, Scored], names: Sequence[str]) -> list[Example]:
    """Scans by name.

    Args:
        scored: by category.
        names: "category/scan" each.

    Raises:
        DataError: one of them is not there.
    """
    examples = []
    for name in names:
        category, _, scan = name.partition("/")
        row = scored[category].row(scan) if category in scored else None
        if row is None:
            known = (
                [sample.name for sample in scored[category].samples] if category in scored else []
            )
            raise DataError(
                f"{name}: not among the scored scans; expected category/scan, with one of "
                f"{', '.join(known[:5] or sorted(scored))}"
            )
        examples.append(Example(category, row))
    return examples
