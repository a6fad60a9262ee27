"""Tables of how cost grows with the points of a cloud, the batch, and the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from btp.benchmark.measure import measure
from btp.benchmark.settings import Settings
from btp.benchmark.speed import forward
from btp.benchmark.table import Growth
from btp.benchmark.workload import make, present, raw_cloud
from btp.data.folder import Folder
from btp.data.formats import write_pcd
from btp.features.store import DiskStore
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.types import Features

PAPER = {1024: 75.3, 2048: 73.8, 4096: 71.9, 8192: 69.8}
"""Clouds a second by points, as the paper's Table 5 has them for an RTX 4090."""


def tables(settings: Settings) -> Iterator[Growth]:
    """Measure cost by points and by batch for every encoder, and by store for the first."""
    for encoder in settings.encoders:
        yield _by_points(settings, encoder)
        yield _by_batch(settings, encoder)
    yield _by_store(settings, settings.encoders[0])


def _by_points(settings: Settings, encoder: EncoderConfig) -> Growth:
    lines: list[tuple[float | int | None, ...]] = []
    for n in settings.growth_points:
        taken = forward(make(settings, encoder, 1, n), 1, settings.repeats)
        lines.append((n, taken.seconds * 1000, 1 / taken.seconds, taken.megabytes, PAPER.get(n)))
    return Growth(
        f"{encoder.name}: points of a cloud, one cloud at a time",
        ("points", "ms", "clouds/s", "MB", "paper, RTX 4090: clouds/s"),
        tuple(lines),
    )


def _by_batch(settings: Settings, encoder: EncoderConfig) -> Growth:
    work = make(settings, encoder, min(max(settings.growth_batches), settings.score_clouds))
    lines = []
    for batch in settings.growth_batches:
        taken = forward(work, batch, max(1, settings.repeats // batch))
        lines.append((batch, taken.seconds * 1000 / batch, batch / taken.seconds, taken.megabytes))
    return Growth(
        f"{encoder.name}: clouds in a batch",
        ("batch", "ms a cloud", "clouds/s", "MB"),
        tuple(lines),
    )


def _by_store(settings: Settings, encoder: EncoderConfig) -> Growth:
    lines = []
    echo = _Echo(present(encoder))  # loads what encoders load, though it does not use them
    for count in settings.growth_stores:
        with tempfile.TemporaryDirectory() as folder:
            data = _scans(Path(folder) / "scans", count, settings.n_points)
            store = DiskStore(Path(folder) / "store", echo, settings.n_points)
            store.load(data, "egg", "test")
            loading = partial(store.load, data, "egg", "test")
            taken = measure(loading, settings.slow_repeats)
        per_cloud = taken.seconds * 1000 / count
        lines.append((count, taken.seconds, per_cloud, taken.megabytes))
    return Growth(
        f"{encoder.name}: clouds in the store, read from the page cache",
        ("clouds", "s to load", "ms a cloud", "MB"),
        tuple(lines),
    )


class _Echo(PointLanguageModel):
    """Encodes every cloud alike at once, as filling the store is not what is measured."""

    def __init__(self, encoder: EncoderConfig) -> None:
        super().__init__(encoder)
        point, draw = encoder.point, torch.Generator().manual_seed(0)
        shape = (len(point.taps), point.groups, point.width)
        self._taps = torch.randn(shape, generator=draw)

    @property
    def reads_surface(self) -> bool:
        """Whether surface channels are needed: never, as they are not measured either."""
        return False

    @property
    def fingerprint(self) -> str:
        """Name of the features in the store."""
        return "echo"

    def encode(
        self,
        points: Tensor,
        surface: Tensor | None = None,
        patch_index: Tensor | None = None,
    ) -> Features:
        """Return the same features for each of points [B, N, 3]."""
        point, batch = self.config.point, len(points)
        return Features(
            points=points,
            patch_index=torch.arange(point.groups)[None, :, None].repeat(
                batch, 1, point.group_size
            ),
            taps=self._taps.expand(batch, -1, -1, -1),
            cls=torch.ones(batch, point.width),
            object_embedding=torch.ones(batch, point.embed_dim),
        )


def _scans(root: Path, count: int, n_points: int) -> Folder:
    """Write `count` normal scans, no two alike."""
    points = raw_cloud(0, n_points).points
    for i in range(count):
        points[0, 0] += 1e-4
        write_pcd(root / "egg" / "test" / f"egg_positive{i}.pcd", points)
    (root / "egg" / "train").mkdir()
    return Folder(root)
