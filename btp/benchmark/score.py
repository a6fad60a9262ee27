"""Scoring: the whole forward pass of each cloud, against stored features, batches, fast forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btp.benchmark import released_model
from btp.benchmark.measure import Measured, as_installed, measure_both
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import Workload, make, raw_cloud
from btp.data.prepare import normalise, prepare
from btp.evaluation.scoring import score
from btp.geometry.neighbours import nearest_rows
from btp.inspect.predictor import Inspector
from btp.models.fast import for_encoding, for_scoring
from btp.runtime.processor import gains_by_rounding
from btp.types import Cloud

TOLERANCE = 2e-3  # of scores in 0..1


def rows(settings: Settings) -> Iterator[Row]:
    """Measure scoring from stored features, from sampled points, and from raw clouds."""
    for encoder in settings.encoders:
        work = make(settings, encoder, settings.score_clouds)
        paper = encoder is settings.encoders[0]
        yield _stored(settings, work, encoder.name, paper)
        yield _sampled(settings, work, encoder.name)
        if not work.model.reads_surface:
            yield _raw(settings, work, encoder.name, paper)


def plain_scores(work: Workload, points: Tensor, surface: Tensor | None = None) -> NDArray:
    """Score one cloud [N, 3] the plain way: point scores [N], its object score appended."""
    device = work.model.device
    with torch.no_grad(), as_installed():
        given = None if surface is None else surface[None].to(device)
        features = released_model.encode(work.model.points, points[None].to(device), given)
        scores = work.detector(features)
    return torch.cat([scores.point_scores[0], scores.object_scores]).cpu().numpy()


def _plain(work: Workload) -> NDArray:
    points, surface = work.data.features.points, work.surface
    surfaces = [None] * len(points) if surface is None else list(surface)
    return np.stack([plain_scores(work, *each) for each in zip(points, surfaces, strict=True)])


def _stored(settings: Settings, work: Workload, name: str, paper: bool) -> Row:
    def ours() -> NDArray:
        made = score(for_scoring(work.detector), work.data, work.model.device)
        return np.column_stack([made.point_scores, made.object_scores])

    what = f"{name}, a cloud from stored features"
    return _row(settings, what, work, ours, 15.0 if paper else None)


def _sampled(settings: Settings, work: Workload, name: str) -> Row:
    device, points = work.model.device, work.data.features.points
    encoder = for_encoding(work.model, rounded=gains_by_rounding(device))
    detector = for_scoring(work.detector)

    def ours() -> NDArray:
        with torch.inference_mode():
            surface = None if work.surface is None else work.surface.to(device)
            scores = detector(encoder.encode(points.to(device), surface))
        return torch.cat([scores.point_scores, scores.object_scores[:, None]], 1).cpu().numpy()

    what = f"{name}, a cloud from its sampled points, in a batch of {len(points)}"
    return _row(settings, what, work, ours, None)


def _row(
    settings: Settings,
    what: str,
    work: Workload,
    ours: Callable[[], NDArray],
    ratio: float | None,
) -> Row:
    ours()
    both = measure_both(lambda: _plain(work), ours, settings.slow_repeats, settings.device)
    count = len(work.data)
    return row(
        "score",
        what,
        *both,
        plain_times=1 / count,
        our_times=1 / count,
        rate=count / both[1].seconds,
        device=settings.device,
        goal=None if ratio is None else Goal(ratio=ratio),
        difference=_largest(both),
        tolerance=TOLERANCE,
        note=f"{count} clouds of {work.data.features.points.shape[1]:,} points; plain: one by one",
    )


def _raw(settings: Settings, work: Workload, name: str, paper: bool) -> Row:
    """Measure from raw points in memory to a score for each of them."""
    clouds = [raw_cloud(seed, settings.raw_points) for seed in range(settings.score_clouds)]
    inspector = Inspector(work.detector, work.model, settings.n_points)
    starts = [int(prepare(cloud, settings.n_points).rows[0]) for cloud in clouds]

    def plain() -> NDArray:
        each = zip(clouds, starts, strict=True)
        return np.stack([_plain_raw(work, *one, settings.n_points) for one in each])

    def ours() -> NDArray:
        made = inspector.predict([cloud.points for cloud in clouds], coverage="sampled")
        return np.stack([np.append(each.point_scores, each.object_score) for each in made])

    ours()
    both = measure_both(plain, ours, settings.slow_repeats, settings.device)
    count = len(clouds)
    return row(
        "score",
        f"{name}, a raw cloud of {settings.raw_points:,} points, end to end, in a batch of {count}",
        *both,
        plain_times=1 / count,
        our_times=1 / count,
        rate=count / both[1].seconds,
        device=settings.device,
        goal=Goal(ratio=3.0) if paper else None,
        difference=_largest(both),
        tolerance=TOLERANCE,
        note="sampling and the way back to every raw point included; both start from the same row",
    )


def _plain_raw(work: Workload, cloud: Cloud, start: int, n_points: int) -> NDArray:
    dense = normalise(cloud.points)[0]
    points = torch.from_numpy(dense)[None].to(work.model.device)
    rows = released_model.farthest_point_sample(points, n_points, start)[0]
    scores = plain_scores(work, points[0, rows])
    nearest = nearest_rows(dense, dense[rows.cpu().numpy()])
    return np.append(scores[:-1][nearest], scores[-1])


def _largest(both: Sequence[Measured[NDArray]]) -> float:
    return float(np.abs(both[0].value - both[1].value).max())
