"""Preparing raw clouds: bucketed sampling in chunks, against a loop over all points."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from btp.benchmark import released_model
from btp.benchmark.measure import measure
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import raw_cloud
from btp.data.prepare import normalise, prepare, sample
from btp.geometry import nearest_rows
from btp.surface import surface_channels
from btp.types import Prepared

# Equal distances in float32 are broken otherwise, so rows may differ and be as good.
TOLERANCE = 1e-5


def rows(settings: Settings) -> Iterator[Row]:
    """A cloud of a million points against the plain loop, and the largest one."""
    yield from _against_the_loop(settings)
    yield from _largest(settings)


def _against_the_loop(settings: Settings) -> Iterator[Row]:
    cloud, wanted = raw_cloud(0, settings.sample_points), settings.n_points
    steps = min(settings.sample_steps, wanted)
    prepared = prepare(cloud, wanted)
    start = int(prepared.rows[0])

    def plain() -> NDArray[np.int64]:
        dense = torch.from_numpy(normalise(cloud.points)[0])[None].to(settings.device)
        return released_model.farthest_point_sample(dense, steps, start)[0].cpu().numpy()

    def sampling() -> NDArray[np.int64]:
        return sample(normalise(cloud.points)[0], wanted, np.random.default_rng(0))

    loop = measure(plain, settings.slow_repeats, settings.device)
    what = f"a cloud of {settings.sample_points:,} points to {wanted:,}"
    difference = abs(1 - _reach(prepared, loop.value) / _reach(prepared, prepared.rows[:steps]))
    scaled = (
        f"plain: {steps} of {wanted:,} steps measured, {loop.seconds:.3g} s, × {wanted / steps:.3g}"
    )
    compared = f"compared: how far the farthest point is from the first {steps}"
    for name, ours, goal, note in (
        (what, lambda: prepare(cloud, wanted), Goal(ratio=50), "ours: with the way back; "),
        (f"{what}, without the way back to every raw point", sampling, None, ""),
    ):
        yield row(
            "prepare",
            name,
            loop,
            measure(ours, settings.repeats),
            plain_times=wanted / steps,
            device=settings.device,
            goal=goal,
            difference=difference,
            tolerance=TOLERANCE,
            note=f"{scaled}; {note}{compared}",
        )


def _reach(prepared: Prepared, rows: NDArray[np.int64]) -> float:
    """The largest distance of a raw point from the nearest of some rows."""
    sampled = prepared.dense[rows][nearest_rows(prepared.dense, prepared.dense[rows])]
    return float(np.sqrt(((prepared.dense - sampled) ** 2).sum(1).max()))


def _largest(settings: Settings) -> Iterator[Row]:
    cloud = raw_cloud(0, settings.large_points)
    ours = measure(lambda: prepare(cloud, settings.n_points), settings.repeats)
    what = f"a cloud of {settings.large_points:,} points"
    yield row("prepare", what, None, ours, goal=Goal(seconds=2, megabytes=1000))
    prepared = ours.value
    described = measure(lambda: surface_channels(prepared.dense, prepared.points), settings.repeats)
    yield row("prepare", f"{what}, its surface channels", None, described)
