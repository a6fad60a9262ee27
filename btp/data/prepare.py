"""Raw cloud -> unit sphere -> 2,048 points, with the way back to every raw point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from btp.errors import DataError
from btp.geometry.bucket_sampling import farthest_rows
from btp.geometry.neighbours import nearest_rows
from btp.runtime.batches import batches
from btp.runtime.threads import map_shared
from btp.types import N_POINTS, Cloud, Prepared

MIN_POINTS = 32  # one patch
_CHUNK = 1 << 16  # raw points whose float64 copies are held at a time: they stay in the cache


def normalise(points: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray, float]:
    """Centre on the mean and divide by the largest distance from it.

    Computed in float64, since scans far from their origin would lose their shape in float32.

    Args:
        points: float [R, 3], any units.

    Returns:
        float32 [R, 3] in the unit sphere, the centre float64 [3], and the scale.

    Raises:
        DataError: if all points are equal, or the extent is lost in the coordinates' precision.
    """
    centre = points.mean(0, dtype=np.float64)
    chunks = list(batches(len(points), _CHUNK))

    def farthest(chunk: slice) -> float:
        return float(_squared_distances(points[chunk], centre).max())

    scale = float(np.sqrt(max(map_shared(farthest, chunks))))
    precision = float(np.spacing(np.abs(points).max()))
    if scale == 0 or (scale < 100 * precision):
        raise DataError(
            f"the cloud's {len(points):,} points lie within {scale:.3g} of their centre "
            f"({', '.join(f'{c:.6g}' for c in centre)}), which is "
            f"{'nothing' if scale == 0 else 'near the rounding of its coordinates'}; expected an "
            "object with an extent. Save the scan near the origin or in float64, or remove it"
        )
    unit = np.empty(points.shape, np.float32)

    def write(chunk: slice) -> None:
        for axis in range(3):  # NumPy is slow on rows of three
            unit[chunk, axis] = _shifted(points[chunk, axis], centre[axis]) / scale

    map_shared(write, chunks)
    return unit, centre, scale


def _squared_distances(points: NDArray, centre: NDArray) -> NDArray[np.float64]:
    x, y, z = (np.square(_shifted(points[:, axis], centre[axis])) for axis in range(3))
    return np.asarray(x + y + z)


def _shifted(column: NDArray, origin: float) -> NDArray[np.float64]:
    return np.subtract(column, origin, dtype=np.float64)


def sample(
    points: NDArray[np.float32], n_points: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose points by farthest point sampling from a random start.

    Args:
        points: float32 [R, 3].
        n_points: N.
        rng: chooses the start; and the rows that occur twice if R < N.

    Returns:
        int64 [N], rows of `points` in the order of choice.
    """
    n_raw = len(points)
    start = int(rng.integers(n_raw))
    count = min(n_raw, n_points)
    rows = farthest_rows(points, count, start)
    if count == n_points:
        return rows
    return np.concatenate([rows, rng.integers(n_raw, size=n_points - count)])


def prepare(cloud: Cloud, n_points: int = N_POINTS, seed: int = 0) -> Prepared:
    """Normalise and sample a cloud.

    Args:
        cloud: at least 32 finite points. With fewer than `n_points`, rows are sampled with
            repetition and the result says so.
        n_points: N.
        seed: of the sampling.

    Raises:
        DataError: if the cloud cannot be normalised, has too few points, non-finite ones, or
            another number of labels than of points.
    """
    points, name = cloud.points, cloud.name or "the cloud"
    _check(points, cloud.labels, name)
    try:
        dense, centre, scale = normalise(points)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    rows = sample(dense, n_points, np.random.default_rng(seed))
    return Prepared(
        points=dense[rows],
        rows=rows,
        nearest=nearest_rows(dense, dense[rows]),
        dense=dense,
        labels=cloud.labels,
        centre=centre,
        scale=scale,
        repeated=len(points) < n_points,
    )


def sampled_rows(
    raw: NDArray[np.floating],
    sampled: NDArray[np.float32],
    kept: NDArray[np.int64] | None = None,
) -> NDArray[np.int32]:
    """Find for points of the raw scan the sampled point whose score they have: the nearest.

    Args:
        raw: [R, 3], the whole scan in its units.
        sampled: [N, 3], as the dataset's features hold them: in the unit sphere.
        kept: rows of `raw` to look at; all of them if None.

    Returns:
        int32 [R], or as many as are kept.
    """
    unit, _, _ = normalise(raw)
    return nearest_rows(unit if kept is None else unit[kept], sampled)


def _check(points: NDArray, labels: NDArray | None, name: str) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"{name}: points of shape {list(points.shape)}; expected [N, 3]")
    if len(points) < MIN_POINTS:
        raise DataError(
            f"{name}: {len(points)} points; at least {MIN_POINTS} are needed for one patch. "
            "Scan more densely, or sample the mesh's surface instead of its vertices"
        )
    if not np.isfinite(points).all():
        finite = np.isfinite(points).all(1)
        raise DataError(
            f"{name}: {np.count_nonzero(~finite):,} of {len(points):,} points are not finite "
            f"(first: row {int(finite.argmin())}); remove them before preparing"
        )
    if labels is not None and len(labels) != len(points):
        raise DataError(
            f"{name}: {len(labels):,} labels for {len(points):,} points; expected one a point"
        )
