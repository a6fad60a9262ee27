"""Checks of the metrics' arguments: each error names the cloud, what was found and expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btp.errors import DataError


def by_cloud(*lists: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield each cloud's entries in all lists, and then the name that errors call the cloud by."""
    sizes = [len(entries) for entries in lists]
    if len(set(sizes)) > 1 or not sizes[0]:
        raise DataError(
            f"Got lists for {' and '.join(map(str, sizes))} clouds; expected lists of the same "
            "length, at least 1. Pass one array for each cloud in every list."
        )
    return zip(*lists, (f"cloud {i}" for i in range(sizes[0])), strict=True)


def check_labels(labels: ArrayLike, name: str) -> NDArray[np.bool_]:
    """Return labels as bool [R]; raise where they are not 0 or 1, one a point."""
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array):
        raise DataError(f"{name}: labels have the shape {array.shape}; expected [R], one a point.")
    if array.dtype != bool and not ((array == 0) | (array == 1)).all():
        raise DataError(
            f"{name}: labels hold {np.unique(array)[:5]}; expected only 0 (normal) and 1 "
            "(anomalous). Turn other marks into these."
        )
    return array.astype(bool, copy=False)


def check_scores(scores: ArrayLike, size: int, name: str) -> NDArray[np.floating]:
    """Return scores as float32 or float64 [size]; raise where they are not finite, one a label."""
    values = np.asarray(scores)
    if values.shape != (size,):
        raise DataError(
            f"{name}: scores have the shape {values.shape}; expected ({size},), one for each "
            "label. Score the same cloud that the labels belong to."
        )
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            f"{name}: {np.count_nonzero(~np.isfinite(values))} of {size} scores are NaN or "
            "infinite; expected finite scores. Check the model's weights and input."
        )
    return values


def check_region_ids(region_ids: ArrayLike, name: str) -> NDArray[np.integer]:
    """Return region ids as integers [R]; raise where one is negative."""
    ids = np.asarray(region_ids)
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu" or ids.min() < 0:
        raise DataError(
            f"{name}: region ids have the shape {ids.shape} and type {ids.dtype}, or one is "
            "negative; expected [R] integers, 0 where normal and 1, 2, … in each region. Get them "
            "from btp.metrics.regions."
        )
    return ids


def check_points(points: ArrayLike, size: int, name: str) -> NDArray[np.floating]:
    """Return points as [size, 3]; raise where one is not finite."""
    array = np.asarray(points)
    if array.shape != (size, 3):
        raise DataError(
            f"{name}: points have the shape {array.shape}; expected ({size}, 3), one row for each "
            "label. Take labels and points from the same scan."
        )
    if not np.isfinite(array).all():
        raise DataError(
            f"{name}: {np.count_nonzero(~np.isfinite(array).all(1))} of {size} points are NaN or "
            "infinite; expected finite coordinates. Drop those rows and their labels."
        )
    return array
