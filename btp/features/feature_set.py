"""The features of a category's clouds in memory: which are wanted, and the set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from btp.features.entries import Entry
from btp.geometry.registration import Registration
from btp.metrics import PointCounts
from btp.types import Features, Sample


@dataclass(frozen=True)
class Wanted:
    """Which of the optional features a set is to hold.

    Attributes:
        surface: surface channels (always there, if the encoder reads them).
        fpfh_cloud: FPFH targets of the patches, on the "sampled" or the "dense" cloud (D8); None
            for none.
        point_fpfh: FPFH of each sampled point, on the dense cloud.
        fpfh_radii: of that, for normals and features in the scans' own unit; None for multiples
            of each scan's point spacing.
        registration: of that: "open3d" for FPFH of the scan as it lies on its category's first
            training scan.
    """

    surface: bool = False
    fpfh_cloud: str | None = None
    point_fpfh: bool = False
    fpfh_radii: tuple[float, float] | None = None
    registration: Registration = "none"

    def covers(self, other: Wanted) -> bool:
        """Tell whether a set of these serves where others were asked for."""
        return (
            self.surface >= other.surface
            and other.fpfh_cloud in (None, self.fpfh_cloud)
            and self.point_fpfh >= other.point_fpfh
            and (not other.point_fpfh or self._of_fpfh == other._of_fpfh)
        )

    def joined(self, other: Wanted) -> Wanted:
        """Ask for both; of two settings of FPFH, for the other's."""
        return Wanted(
            self.surface or other.surface,
            other.fpfh_cloud or self.fpfh_cloud,
            self.point_fpfh or other.point_fpfh,
            *(other._of_fpfh if other.point_fpfh else self._of_fpfh),
        )

    @property
    def _of_fpfh(self) -> tuple[tuple[float, float] | None, Registration]:
        """The settings of the points' FPFH."""
        return self.fpfh_radii, self.registration


NOTHING_MORE = Wanted()
"""No optional features."""


@dataclass(frozen=True)
class FeatureSet:
    """All clouds of one category and split, ready to train on or to score: M clouds.

    Attributes:
        category: its name.
        samples: M entries of the dataset's listing.
        features: of all M, taps in 16 bit; `batch` gives them in float32.
        labels: bool [M, N], of the sampled points.
        counts: M condensations of the raw cloud's labels, for metrics at raw resolution.
        region_ids: int32 [M, N], connected regions of the sampled points; 0 is normal.
        repeated: bool [M], sampled with repetition because the cloud was too small.
    """

    category: str
    samples: tuple[Sample, ...]
    features: Features
    labels: Tensor
    counts: tuple[PointCounts, ...]
    region_ids: Tensor
    repeated: Tensor

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def is_anomalous(self) -> Tensor:
        """Whether each cloud is defective by the dataset's listing: bool [M]."""
        return torch.tensor([sample.is_anomalous for sample in self.samples])

    def rows(self, index: Sequence[int]) -> FeatureSet:
        """Return the set of some of the clouds, in this order."""
        chosen = torch.tensor(index, dtype=torch.int64)
        return replace(
            self,
            samples=tuple(self.samples[i] for i in index),
            features=self.features.map(lambda tensor: tensor[chosen]),
            labels=self.labels[chosen],
            counts=tuple(self.counts[i] for i in index),
            region_ids=self.region_ids[chosen],
            repeated=self.repeated[chosen],
        )

    def batch(
        self, index: Tensor | slice, device: torch.device | str = "cpu"
    ) -> tuple[Features, Tensor]:
        """Return features in float32 and labels bool [B, N] of some of the clouds."""

        def take(tensor: Tensor) -> Tensor:
            chosen = tensor[index].to(device, non_blocking=True)
            return chosen.float() if chosen.is_floating_point() else chosen

        features = self.features.map(take)
        return features, take(self.labels)


def joined(category: str, samples: Sequence[Sample], entries: Sequence[Entry]) -> FeatureSet:
    """Stack what is known of M clouds into one set.

    Args:
        category: of all of them.
        samples: M entries of the dataset's listing.
        entries: of each cloud all tensors that were wanted, the same names for each.
    """

    def stack(name: str) -> Tensor:
        return torch.stack([entry[name] for entry in entries])

    def counts(entry: Entry) -> PointCounts:
        return PointCounts(
            **{f.name: entry[f"counts.{f.name}"].numpy() for f in fields(PointCounts)}
        )

    features = {f.name: stack(f.name) for f in fields(Features) if f.name in entries[0]}
    region_ids = stack("region_ids")
    return FeatureSet(
        category=category,
        samples=tuple(samples),
        features=Features(**features | {"patch_index": features["patch_index"].long()}),
        labels=region_ids > 0,
        counts=tuple(counts(entry) for entry in entries),
        region_ids=region_ids,
        repeated=stack("repeated"),
    )
