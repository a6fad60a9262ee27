"""Preparing raw clouds: bucketed sampling in chunks, against a loop over all points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.benchmark import released_model
from btp.benchmark.measure import Measured, measure
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import raw_cloud
from btp.data.prepare import normalise, prepare, sample
from btp.geometry.local_geometry import local_geometry, surface_channels
from btp.geometry.neighbours import nearest_rows
from btp.types import Prepared

# Equal distances in float32 are broken otherwise, so rows may differ and be as good.
TOLERANCE = 1e-5


def rows(settings: Settings) -> Iterator[Row]:
    """Measure preparing a cloud of a million points, and the largest one."""
    yield from _against_the_loop(settings)
    yield from _largest(settings)


def _against_the_loop(settings: Settings) -> Iterator[Row]:
    cloud, wanted = raw_cloud(0, settings.sample_points), settings.n_points
    steps = min(settings.sample_steps, wanted)
    prepared = prepare(cloud, wanted)
    dense, start = prepared.dense, int(prepared.rows[0])

    def loop() -> NDArray[np.int64]:
        points = torch.from_numpy(dense)[None].to(settings.device)
        return released_model.farthest_point_sample(points, steps, start)[0].cpu().numpy()

    def sampled() -> NDArray[np.int64]:
        return sample(normalise(cloud.points)[0], wanted, np.random.default_rng(0))

    chosen = measure(loop, settings.slow_repeats, settings.device)
    unit = measure(lambda: normalise(cloud.points), settings.repeats)
    back = measure(lambda: cKDTree(prepared.points).query(dense)[1], settings.slow_repeats)
    difference = abs(1 - _reach(prepared, chosen.value) / _reach(prepared, prepared.rows[:steps]))
    note = (
        f"plain: {steps} of {wanted:,} steps measured, {chosen.seconds:.3g} s, "
        f"× {wanted / steps:.3g}; compared: how far the farthest point is from the first {steps}"
    )
    what = f"a cloud of {settings.sample_points:,} points to {wanted:,}"
    for name, rest, ours, goal in (
        (what, [unit], measure(sampled, settings.repeats), Goal(ratio=50)),
        (
            f"{what}, and the way back to every raw point",
            [unit, back],
            measure(lambda: prepare(cloud, wanted), settings.repeats),
            None,
        ),
    ):
        yield row(
            "prepare",
            name,
            _after(chosen, wanted / steps, rest),
            ours,
            device=settings.device,
            goal=goal,
            difference=difference,
            tolerance=TOLERANCE,
            note=note,
        )


def _after(loop: Measured[Any], times: float, rest: Sequence[Measured[Any]]) -> Measured[Any]:
    """Scale a loop of which a part was measured, and add the rest of the work."""
    memory = [each.megabytes for each in (loop, *rest) if each.megabytes is not None]
    return replace(
        loop,
        seconds=loop.seconds * times + sum(each.seconds for each in rest),
        cpu_seconds=loop.cpu_seconds * times + sum(each.cpu_seconds for each in rest),
        megabytes=max(memory, default=None),
    )


def _reach(prepared: Prepared, rows: NDArray[np.int64]) -> float:
    """Return the largest distance of a raw point from the nearest of some rows."""
    sampled = prepared.dense[rows][nearest_rows(prepared.dense, prepared.dense[rows])]
    return float(np.sqrt(((prepared.dense - sampled) ** 2).sum(1).max()))


def _largest(settings: Settings) -> Iterator[Row]:
    cloud = raw_cloud(0, settings.large_points)
    ours = measure(lambda: prepare(cloud, settings.n_points), settings.repeats)
    what = f"a cloud of {settings.large_points:,} points"
    yield row("prepare", what, None, ours, goal=Goal(seconds=2, megabytes=1000))
    prepared = ours.value
    described = measure(
        lambda: surface_channels(local_geometry(prepared.dense, prepared.points)), settings.repeats
    )
    yield row("prepare", f"{what}, its surface channels", None, described)
