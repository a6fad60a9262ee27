"""Memories of normal scans: the distance to what was seen there is the score. Nothing is learned.

- BTF (Horwitz and Hoshen, CVPR workshops 2023): FPFH of every point, all of them kept.
- PatchCore (Roth et al., CVPR 2022): descriptors of points or patches, thinned to a coreset.

As in Real3D-AD's benchmark the memory holds the tested category's own training scans. Unlike there
every scan is sampled and, for the encoder, scaled to the unit sphere, so that a full training scan
and a one-sided test scan differ in scale. Unless the features were asked for otherwise
(`btp.features.store.Wanted`), no scan is registered, and FPFH's radii follow each scan's point
spacing instead of being millimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from btp.errors import ConfigError
from btp.features.store import FeatureSet
from btp.geometry.neighbours import nearest_descriptors
from btp.geometry.patches import gather, patch_of_uncovered, patches_to_points
from btp.geometry.sampling import farthest_rows
from btp.runtime.batches import batches
from btp.types import Features, Scores

CORESET = 0.25  # of the patches; the largest share in PatchCore's paper
POINTS_KEPT = 10_000  # of all points, as PatchCore keeps in Real3D-AD's benchmark
NEIGHBOURS = 3  # b of PatchCore's Eq. 7, as in the benchmark
PROJECTED = 128  # dimensions in which the coreset is chosen, as in PatchCore's code
FPFH_SUM = 200.0  # of each of its histograms

BATCH = 8  # clouds described at once

Describe = Callable[[Features], Tensor]
ObjectScore = Literal["maximum", "reweighted", "reweighted_without_nearest"]
"""How point or patch distances score the object: their maximum as it is; PatchCore's Eq. 7; or as
BTF's code has that equation, with the nearest of the neighbours left out of its sum."""


def point_fpfh(features: Features) -> Tensor:
    """FPFH of each point, its histograms scaled to a sum of 1: float [B, N, 33].

    Raises:
        ConfigError: if the features were loaded without.
    """
    if features.point_fpfh is None:
        raise ConfigError(
            "the features hold no FPFH of points; load them with Wanted(point_fpfh=True)"
        )
    return features.point_fpfh / FPFH_SUM


def patch_fpfh(features: Features) -> Tensor:
    """Mean FPFH of each patch's points: float [B, G, 33]."""
    return gather(point_fpfh(features), features.patch_index).mean(2)


def patch_taps(features: Features) -> Tensor:
    """The encoder's taps of each patch, joined: float [B, G, L C]."""
    return features.taps.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class MemoryBank:
    """Scores clouds by their distance to a memory; called like a detector.

    Attributes:
        memory: float [M, F], descriptors of normal scans.
        describe: features -> [B, N, F], one a point, or [B, G, F], one a patch.
        of_points: which of the two.
        object_score: how these distances score the object.
    """

    memory: Tensor
    describe: Describe
    of_points: bool
    object_score: ObjectScore = "reweighted"

    def __call__(self, features: Features) -> Scores:
        """Distances as scores: at least 0, not bounded by 1. There are no logits: all nan."""
        described = self.describe(features)
        distances, rows = nearest_descriptors(described.flatten(0, 1), self.memory, 1)
        values = distances.view(described.shape[:2])
        objects = values.amax(1)
        if self.object_score != "maximum":
            skipped = 1 if self.object_score == "reweighted_without_nearest" else 0
            objects = reweighted(described, values, rows.view(values.shape), self.memory, skipped)
        n_patches = features.patch_index.shape[1]
        return Scores(
            patch_logits=values.new_full((len(values), n_patches), torch.nan),
            point_logits=values.new_full(features.points.shape[:2], torch.nan),
            point_scores=values if self.of_points else _to_points(features, values),
            object_logits=torch.full_like(objects, torch.nan),
            object_scores=objects,
        )


def remember(
    normal: FeatureSet,
    describe: Describe,
    of_points: bool,
    share: float = 1.0,
    most: int | None = None,
    object_score: ObjectScore = "reweighted",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> MemoryBank:
    """Fill a memory with the descriptors of normal scans.

    Args:
        normal: the scans.
        describe: see `MemoryBank`.
        of_points: likewise.
        share: kept of all descriptors, chosen by `greedy_coreset`; 1 keeps all.
        most: descriptors that are kept; None for no limit.
        object_score: see `MemoryBank`.
        seed: of that choice.
        device: that the features are moved to.
    """
    described = [
        describe(normal.batch(chunk, device)[0]).flatten(0, 1)
        for chunk in batches(len(normal), BATCH)
    ]
    memory = torch.cat(described)
    count = max(1, round(share * len(memory)))
    count = count if most is None else min(most, count)
    if count < len(memory):
        memory = memory[greedy_coreset(memory, count, seed)]
    return MemoryBank(memory, describe, of_points, object_score)


def greedy_coreset(features: Tensor, count: int, seed: int) -> Tensor:
    """Choose rows, each as far as possible from those chosen before (PatchCore, Algorithm 1).

    Distances are taken after a random projection to `PROJECTED` dimensions, where there are more.

    Args:
        features: float [M, F].
        count: of rows to choose, at most M.
        seed: of the projection and the first row.

    Returns:
        int64 [count], in the order of choice. Ties go to the lowest row.
    """
    generator = torch.Generator().manual_seed(seed)
    start = int(torch.randint(len(features), (), generator=generator))
    width = features.shape[1]
    if width > PROJECTED:
        projection = torch.randn(width, PROJECTED, generator=generator) / PROJECTED**0.5
        features = features @ projection.to(features)
    uncovered = features.new_full((1, len(features)), torch.inf)

    def squared_distance(row: Tensor) -> Tensor:
        return (features - features[row[0]]).square_().sum(1)[None]

    return farthest_rows(uncovered, count, start, squared_distance)[0]


def reweighted(
    described: Tensor, distances: Tensor, rows: Tensor, memory: Tensor, skipped: int = 0
) -> Tensor:
    """Score objects by the largest distance, less where the memory is sparse (PatchCore, Eq. 7).

    With q the descriptor of that distance, m the memory's nearest to it, and m' the `NEIGHBOURS`
    nearest to m, itself included: s = |q - m| (1 - exp |q - m| / sum exp |q - m'|). As in the
    benchmark the exponents are divided by the root of F, so that wide descriptors do not overflow.

    Args:
        described: float [B, n, F].
        distances: float [B, n], to the memory.
        rows: int64 [B, n], the rows of `memory` at these.
        memory: float [M, F].
        skipped: of the neighbours, the nearest first, that the sum leaves out: 1 as in BTF's code,
            whose score can be below 0.

    Returns:
        float [B].
    """
    highest, at = distances.max(1)
    if len(memory) <= max(1, skipped):  # no neighbours to weigh with
        return highest
    each = torch.arange(len(described), device=described.device)
    query = described[each, at]  # [B, F]
    near = nearest_descriptors(memory[rows[each, at]], memory, min(NEIGHBOURS, len(memory)))[1]
    # [B, b], the first of them m itself
    around = (query[:, None] - memory[near]).norm(dim=2) / memory.shape[1] ** 0.5
    return highest * (1 - (around[:, 0] - around[:, skipped:].logsumexp(1)).exp())


def _to_points(features: Features, patch_values: Tensor) -> Tensor:
    """Mean over the patches that hold a point, or else the nearest patch's value: [B, N]."""
    points, index = features.points, features.patch_index
    held = patches_to_points(patch_values, index, points.shape[1])
    patch = patch_of_uncovered(points, index)
    return torch.where(patch < 0, held, patch_values.gather(1, patch.clamp(min=0)))
