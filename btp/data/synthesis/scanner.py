"""From surfaces to a data set: what a scanner sees of an object, written as a benchmark folder."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from btp.data.formats import write_labelled_txt, write_pcd
from btp.data.synthesis import defects
from btp.data.synthesis.areas import object_radius
from btp.errors import DataError
from btp.runtime.batches import batches
from btp.runtime.locks import locked
from btp.runtime.processes import map_in_workers
from btp.runtime.progress import Progress

Draw = Callable[[int, np.random.Generator], tuple[NDArray, NDArray]]
"""(number of points, generator) -> points [N, 3] and outward unit normals [N, 3] of one object."""
Source = Callable[[str], Callable[[np.random.Generator], Draw]]
"""Category -> what makes its individuals, one for each generator given.

Picklable, for the worker processes; it is called for a few scans at a time, and may read a file.
"""

POINTS = (22_000, 30_000)
"""Points of a scan before a defect takes some away."""
NOISE = (0.001, 0.005)
"""Standard deviation of the scanner's noise in parts of the radius; log-uniform."""
ONE_SIDED_SHARE = 0.2
"""Share of the test scans that show one side only."""
BATCH = 8
"""Scans of one category that a worker process writes in one go."""


@dataclass(frozen=True)
class SetSize:
    """How many scans each category gets."""

    train: int = 4
    normal: int = 20
    defective: int = 20


def simulate(
    draw: Draw, kind: str | None, rng: np.random.Generator, one_sided: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scan one object: density, view, defect, noise and pose are random.

    Args:
        draw: the object.
        kind: a defect of `defects.KINDS`, or None for a normal scan.
        rng: decides everything else.
        one_sided: keep only what one viewpoint sees.

    Returns:
        Points [N, 3] float32 in the object's units, N in `POINTS` less what the defect takes away
        (at most a tenth), and labels [N] bool.
    """
    count = int(rng.integers(*POINTS))
    points, normals = _one_side(draw, count, rng) if one_sided else draw(count, rng)
    labels = np.zeros(len(points), bool)
    if kind is not None:
        points, labels = defects.apply(kind, points, normals, rng)
    points = scan_noise(points, rng, np.exp(rng.uniform(*np.log(NOISE))))
    return random_pose(points, rng).astype(np.float32), labels


def scan_noise(points: NDArray, rng: np.random.Generator, level: float) -> NDArray[np.float64]:
    """Add independent normal noise with a standard deviation of `level` x the object's radius."""
    return points + rng.normal(0, level * object_radius(points), points.shape)


def random_pose(points: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Turn points [N, 3] to a uniformly random orientation and shift them by about a radius."""
    # scipy's Rotation.random would do, but the demo set's bytes are made with this one.
    turn, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    turn = turn * np.sign(np.diag(upper))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    shift = rng.normal(0, object_radius(points), 3)
    return np.asarray(points @ turn.T + shift, np.float64)


def visible(points: NDArray, normals: NDArray, direction: NDArray) -> NDArray[np.bool_]:
    """Tell which points a distant scanner in the given direction sees, by a depth buffer.

    Args:
        points: [N, 3], a dense sample of a surface.
        normals: [N, 3], outward unit normals.
        direction: [3], unit vector from the object to the scanner.

    Returns:
        bool [N].
    """
    axes = np.linalg.svd(direction[None])[2]  # the direction, and two across it
    depth, across = points @ direction, points @ axes[1:].T
    extent = np.ptp(across, axis=0)
    cell = float(2 * np.sqrt(extent.prod() / len(points)))
    column, row = ((across - across.min(0)) / cell).astype(int).T
    front = np.full((column.max() + 1, row.max() + 1), -np.inf)
    np.maximum.at(front, (column, row), depth)
    # Steep surface falls by several cells within one, and neighbours close gaps in the sample.
    nearest = maximum_filter(front, 3)[column, row]
    facing = normals @ direction
    slack = 3 * cell * np.minimum(1 / np.maximum(facing, 0.1), 4)
    return np.asarray((facing > 0.1) & (depth > nearest - slack))


def write_set(
    root: Path,
    source: Source,
    categories: Sequence[str],
    seed: int,
    size: SetSize | None = None,
    workers: int = 2,
) -> Path:
    """Write scans of objects as a benchmark folder in the Anomaly-ShapeNet layout.

    `<root>/<category>/{train,test}/<category>_<kind><i>.pcd`, with `template` and `positive` for
    normal scans, and `GT/<category>_<kind><i>.txt` with `x,y,z,label` for defective ones. The
    folder gets its name when it is complete, so an interrupted run never looks like a set; the next
    one removes what it left. One process at a time writes a set; others wait, and then find it.

    Args:
        root: folder to write; must be absent or empty.
        source: gives the objects.
        categories: names of the categories.
        seed: the same seed gives the same bytes, whatever the other categories and the workers.
        size: scans per category.
        workers: processes; 1 stays in this one.

    Returns:
        `root`.

    Raises:
        DataError: `root` is a file or holds something, or cannot be written.
    """
    root = Path(root)
    require_free(root)
    try:
        with locked(root.parent / f".{root.name}-unfinished.lock"):
            require_free(root)
            _write_set(root, source, categories, seed, size or SetSize(), workers)
    except OSError as error:
        raise DataError(
            f"{root}: cannot be written ({error.strerror}); nothing is left of it. Make room, or "
            "choose another folder"
        ) from error
    return root


def _write_set(
    root: Path, source: Source, categories: Sequence[str], seed: int, size: SetSize, workers: int
) -> None:
    """Write a set while no other process writes one of this name."""
    prefix = f".{root.name}-unfinished-"
    for left in root.parent.iterdir():  # by a process that was killed
        if left.name.startswith(prefix):
            shutil.rmtree(left, ignore_errors=True)
    partial_root = Path(tempfile.mkdtemp(dir=root.parent, prefix=prefix))
    partial_root.chmod(0o755)
    try:
        plans = [_plan(category, size) for category in categories]
        jobs = [plan[some] for plan in plans for some in batches(len(plan), BATCH)]
        write = partial(_write_scans, partial_root, source, seed)
        total = sum(map(len, plans))
        with Progress(f"writing {root.name}", total) as progress:
            for written in map_in_workers(write, jobs, workers):
                progress.update(written)
        if root.exists():
            root.rmdir()
        partial_root.rename(root)
    except BaseException:
        shutil.rmtree(partial_root, ignore_errors=True)
        raise


def require_free(root: Path) -> None:
    """Raise a DataError if a folder to be written is a file or holds something already."""
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        raise DataError(
            f"{root}: already there and not empty; expected a new or empty folder, so that nothing "
            "is overwritten or mixed. Name another folder, or remove this one."
        )


@dataclass(frozen=True)
class _Job:
    category: str
    split: str
    name: str
    kind: str | None


def _plan(category: str, size: SetSize) -> list[_Job]:
    kinds = sorted(defects.KINDS)
    jobs = [_Job(category, "train", f"{category}_template{i}", None) for i in range(size.train)]
    jobs += [_Job(category, "test", f"{category}_positive{i}", None) for i in range(size.normal)]
    for i in range(size.defective):
        kind = kinds[i % len(kinds)]
        jobs.append(_Job(category, "test", f"{category}_{kind}{i // len(kinds)}", kind))
    return jobs


def _write_scans(root: Path, source: Source, seed: int, jobs: Sequence[_Job]) -> int:
    """Write scans of one category, and return their number."""
    individual = source(jobs[0].category)
    for job in jobs:
        rng = np.random.default_rng([seed, zlib.crc32(job.name.encode())])
        draw = individual(rng)
        one_sided = job.split == "test" and bool(rng.random() < ONE_SIDED_SHARE)
        points, labels = simulate(draw, job.kind, rng, one_sided)
        folder = root / job.category
        write_pcd(folder / job.split / f"{job.name}.pcd", points)
        if job.kind is not None:
            write_labelled_txt(folder / "GT" / f"{job.name}.txt", points, labels, ",")
    return len(jobs)


def _one_side(draw: Draw, count: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """`count` points of what one random viewpoint sees; the other side is never returned."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    needed = 3 * count
    while True:
        points, normals = draw(needed, rng)
        seen = visible(points, normals, direction)
        if seen.sum() >= count or needed >= 12 * count:
            return points[seen][:count], normals[seen][:count]
        needed = int(1.1 * needed * count / max(seen.sum(), count / 4))
