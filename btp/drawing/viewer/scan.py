"""The data that the viewer shows of one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ViewedScan:
    """A scored scan for the viewer.

    Attributes:
        name: above it and in the list; any text.
        category: beside the name, "" for none.
        points: float [N, 3], in any unit. Rows that are not finite are not shown.
        scores: detector's name -> float [N]. The first detector is the one that is shown first;
            all scans of a page have the same ones. A detector's scores may have any scale.
        object_scores: detector's name -> score of the whole scan.
        labels: ground truth, bool [N], True for anomalous; None where there is none.
        regions: int [N], a number from 0 for the points of each defect region of the first
            detector, -1 outside of all; None where there are none.
        threshold: of the first detector's point scores, above which points are shown in colour
            at first; None to colour all.
        decision: such as "OK" or "DEFECT", "" for none.
    """

    name: str
    category: str
    points: NDArray[np.floating]
    scores: Mapping[str, NDArray[np.floating]]
    object_scores: Mapping[str, float] = field(default_factory=dict)
    labels: NDArray[np.bool_] | None = None
    regions: NDArray[np.integer] | None = None
    threshold: float | None = None
    decision: str = ""
