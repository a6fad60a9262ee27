"""Throughput in batches, and latency of one cloud; the paper's Table 5 has 73.8 clouds/s."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from btp.benchmark.measure import Measured, measure
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import Workload, make
from btp.models.fast import for_encoding, for_scoring

GPU_BATCH = 256


def throughput(settings: Settings) -> Iterator[Row]:
    """Measure each encoder with its heads on batches of sampled points."""
    on_gpu = settings.device.startswith("cuda")
    batch = GPU_BATCH if on_gpu else settings.score_clouds
    for encoder in settings.encoders:
        work = make(settings, encoder, min(batch, settings.score_clouds))
        taken = forward(work, batch, settings.repeats if on_gpu else settings.slow_repeats)
        paper = encoder is settings.encoders[0]
        yield row(
            "throughput",
            f"{encoder.name}, a cloud in batches of {batch}",
            None,
            taken,
            our_times=1 / batch,
            rate=batch / taken.seconds,
            device=settings.device,
            goal=Goal(rate=5000, on_gpu=True) if paper else None,
            note="the paper: 73.8/s on an RTX 4090" if paper else "",
        )


def latency(settings: Settings) -> Iterator[Row]:
    """Measure each encoder with its heads on one cloud at a time."""
    for encoder in settings.encoders:
        work = make(settings, encoder, 1)
        paper = encoder is settings.encoders[0]
        goal = Goal(seconds=3e-3, on_gpu=True) if paper else None
        taken = forward(work, 1, settings.repeats)
        yield row(
            "latency", f"{encoder.name}, one cloud", None, taken, device=settings.device, goal=goal
        )


def forward(work: Workload, batch: int, repeats: int) -> Measured[float]:
    """Time the encoding and scoring of `batch` clouds that lie on the device already."""
    device = work.model.device
    rows = torch.arange(batch) % len(work.data)
    points = work.data.features.points[rows].to(device)
    surface = None if work.surface is None else work.surface[rows].to(device)

    detector, encoder = for_scoring(work.detector), for_encoding(work.model)

    def once() -> float:
        with torch.inference_mode():
            return float(detector(encoder.encode(points, surface)).object_scores.sum())

    if batch == 1 or device.type == "cuda":  # where there is something to warm up
        once()
    return measure(once, repeats, str(device))
