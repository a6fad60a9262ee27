"""Thin, measure and pack a scan for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.drawing.viewer.columns import (
    curve_order,
    pack,
    quantise,
    quantise_normals,
    quantise_points,
)
from btp.drawing.viewer.scan import ViewedScan
from btp.errors import DataError
from btp.geometry.normals import estimate_normals

KEPT_SHARE = 0.25  # of a thinned scan's points: its highest scores; the rest shows the shape
BINS = 128  # of the histogram under the threshold slider
NEIGHBOURS = 6
NORMAL_NEIGHBOURS, NORMAL_REACH = 30, 5.0  # enough to smooth the noise of a scan


@dataclass(frozen=True)
class EncodedScan:
    """A scan in the form that the page reads.

    Attributes:
        about: everything except the points, for JSON.
        content: the points' columns, as of `pack`: x, y, z, two of the normal, one a detector,
            then labels and regions (0 outside of all) where there are any.
    """

    about: dict[str, Any]
    content: str


def encode(scan: ViewedScan, max_points: int) -> EncodedScan:
    """Thin and pack a scan; its counts and histograms are of all points, before thinning.

    Raises:
        DataError: if its arrays do not fit together, or no point has coordinates and scores.
    """
    _check(scan)
    known = np.isfinite(scan.points).all(1)
    for values in scan.scores.values():
        known &= np.isfinite(values)
    if not known.any():
        raise DataError(f"{scan.name}: no point has finite coordinates and scores; nothing to show")
    order = np.flatnonzero(known)[curve_order(scan.points[known])]
    scores = {name: np.asarray(values)[order] for name, values in scan.scores.items()}
    kept = rows_to_show(list(scores.values()), max_points)
    rows = order[kept]
    grid, low, step = quantise_points(scan.points[rows])
    normals, spot = _normals(grid)
    columns = [*grid.T, *quantise_normals(normals).T]
    detectors = {}
    for name, values in scores.items():
        column, lowest, height = quantise(values[kept])
        columns.append(column)
        detectors[name] = _measure(values, None if scan.labels is None else scan.labels[order])
        detectors[name] |= {"offset": lowest, "step": height}
        detectors[name]["object"] = _known(scan.object_scores.get(name))
    about: dict[str, Any] = {
        "name": scan.name,
        "category": scan.category,
        "decision": scan.decision,
        "threshold": _known(scan.threshold),
        "total": len(order),
        "hidden": int(len(known) - len(order)),
        "shown": len(rows),
        "low": low.tolist(),
        "step": step,
        "spot": spot * step,
        "detectors": detectors,
    }
    if scan.labels is not None:
        columns.append(scan.labels[rows].astype(np.uint16))
        about["defective"] = int(np.count_nonzero(scan.labels[order]))
    if scan.regions is not None:
        columns.append((scan.regions[rows] + 1).astype(np.uint16))
        about["regions"] = _regions(scan.points[order], scan.regions[order], scores)
    return EncodedScan(about, pack(columns))


def rows_to_show(scores: list[NDArray[np.floating]], most: int) -> NDArray[np.intp]:
    """Choose the points that the page shows: the highest scores, and an even rest.

    Args:
        scores: [N] for each detector; the points in the order of `curve_order`.
        most: number of rows.

    Returns:
        Ascending: all if N <= `most`; else the highest scores of each detector, a quarter of all
        rows in total, and others in equal steps along the curve.
    """
    count = len(scores[0])
    if count <= most:
        return np.arange(count)
    marked = np.zeros(count, bool)
    share = max(1, int(KEPT_SHARE * most / len(scores)))
    for values in scores:
        marked[np.argpartition(values, count - share)[count - share :]] = True
    others = np.flatnonzero(~marked)
    places = np.linspace(0, len(others), most - np.count_nonzero(marked), endpoint=False)
    marked[others[places.astype(np.intp)]] = True
    return np.flatnonzero(marked)


def _measure(values: NDArray[np.floating], labels: NDArray[np.bool_] | None) -> dict[str, Any]:
    """Return range and histogram of a detector's scores, and the defective points' histogram."""
    low, high = float(values.min()), float(values.max())
    ends = (low, high if high > low else low + 1)
    found = {"low": low, "high": high, "counts": np.histogram(values, BINS, ends)[0].tolist()}
    if labels is not None:
        found["defective"] = np.histogram(values[labels.astype(bool)], BINS, ends)[0].tolist()
    return found


def _known(value: float | None) -> float | None:
    """Return a number as JSON can hold it; None if it is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def _normals(grid: NDArray[np.uint16]) -> tuple[NDArray[np.float64], float]:
    """Estimate normals [M, 3], and the diameter of spots that close the surface, in grid steps."""
    tree = cKDTree(grid.astype(np.float64))
    near = min(NEIGHBOURS, len(grid) - 1)
    if near == 0:
        return np.array([[0.0, 0.0, 1.0]]), 1.0
    sample = tree.data[:: max(1, len(grid) // 2000)]
    spot = float(np.median(tree.query(sample, [near + 1])[0])) or 1.0
    return estimate_normals(tree, NORMAL_REACH * spot, NORMAL_NEIGHBOURS), spot


def _regions(
    points: NDArray[np.floating],
    regions: NDArray[np.integer],
    scores: dict[str, NDArray[np.floating]],
) -> list[dict[str, Any]]:
    inside = np.flatnonzero(regions >= 0)
    inside = inside[np.argsort(regions[inside], kind="stable")]
    numbers, starts = np.unique(regions[inside], return_index=True)
    found = []
    for number, rows in zip(numbers, np.split(inside, starts)[1:], strict=True):
        spots = points[rows].astype(np.float64)
        found.append(
            {
                "number": int(number) + 1,
                "points": len(rows),
                "size": np.ptp(spots, axis=0).tolist(),
                "centre": spots.mean(0).tolist(),
                "highest": {name: float(values[rows].max()) for name, values in scores.items()},
            }
        )
    return found


def _check(scan: ViewedScan) -> None:
    shape = scan.points.shape
    if len(shape) != 2 or shape[1] != 3:
        raise DataError(f"{scan.name}: points of shape {list(shape)}; expected [N, 3]")
    if not scan.scores:
        raise DataError(f"{scan.name}: no scores; give those of one detector at least")
    arrays: dict[str, NDArray[Any] | None] = {"labels": scan.labels, "regions": scan.regions}
    arrays |= {f"scores of {name}": values for name, values in scan.scores.items()}
    for what, values in arrays.items():
        if values is not None and values.shape != shape[:1]:
            raise DataError(
                f"{scan.name}: {what} have shape {list(values.shape)}; expected [{shape[0]}], "
                "one for each point"
            )
