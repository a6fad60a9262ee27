"""The features of a category's clouds in memory, ready to train on or to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from btp.features.parts import Part
from btp.metrics import PointCounts
from btp.types import Features, Sample


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
        """Of each cloud by the dataset's listing: bool [M]."""
        return torch.tensor([sample.is_anomalous for sample in self.samples])

    def rows(self, index: Sequence[int]) -> FeatureSet:
        """The set of some of the clouds, in this order."""
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
        """Features in float32 and labels bool [B, N] of some of the clouds."""

        def take(tensor: Tensor) -> Tensor:
            chosen = tensor[index].to(device, non_blocking=True)
            return chosen.float() if chosen.is_floating_point() else chosen

        features = self.features.map(take)
        return features, take(self.labels)


def joined(
    category: str,
    samples: Sequence[Sample],
    clouds: Sequence[Part],
    surfaces: Sequence[Part],
    encoded: Sequence[Part],
    targets: Sequence[Part],
    described: Sequence[Part],
) -> FeatureSet:
    """Parts of M clouds as one set.

    Args:
        category: of all of them.
        samples: M entries of the dataset's listing.
        clouds: M parts, see `btp.features.parts`.
        surfaces: M, or none.
        encoded: M, of the encoder.
        targets: M FPFH targets of the patches, or none.
        described: M FPFH of the points, or none.
    """

    def stack(parts: Sequence[Part], name: str) -> Tensor:
        return torch.stack([part[name] for part in parts])

    def counts(part: Part) -> PointCounts:
        prefix = "counts."
        named = {k.removeprefix(prefix): v for k, v in part.items() if k.startswith(prefix)}
        return PointCounts(**{k: v.numpy() for k, v in named.items()})

    region_ids = stack(clouds, "region_ids")
    return FeatureSet(
        category=category,
        samples=tuple(samples),
        features=Features(
            points=stack(clouds, "points"),
            patch_index=stack(encoded, "patch_index").long(),
            taps=stack(encoded, "taps"),
            cls=stack(encoded, "cls"),
            object_embedding=stack(encoded, "object_embedding"),
            surface=stack(surfaces, "surface") if surfaces else None,
            fpfh=stack(targets, "fpfh") if targets else None,
            point_fpfh=stack(described, "point_fpfh") if described else None,
        ),
        labels=region_ids > 0,
        counts=tuple(counts(part) for part in clouds),
        region_ids=region_ids,
        repeated=stack(clouds, "repeated"),
    )
