"""Distances between the patches of scans, and whether scans are of one part.

Each patch is described by the frozen encoder's taps and compared with all patches of other scans.

Shapes: V samplings of a scan, N points and G patches of K points in each, F numbers a descriptor,
R other scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from btp.geometry.neighbours import knn
from btp.geometry.patches import gather, patch_centres
from btp.types import Features

SMOOTHED = 6
"""Patches, the own one among them, over which a descriptor is averaged."""
DIMENSIONS = 64
"""Principal components of the descriptors in which distances are measured."""
WHITENED = 0.5
"""Power of the standard deviation that each component is divided by: 0 leaves them as they are, 1
makes all alike."""
COMPARED_SAMPLINGS = 2
"""Samplings of each other scan that patches are compared with."""
RECURRING = 0.3
"""Share of the other scans in which a normal place must be found again: the nearest ones count, so
that a place is normal though the same place is defective, or not scanned, in most others."""


@dataclass(frozen=True)
class DescribedScan:
    """What judging a scan by others needs to know of it.

    Attributes:
        digest: of its content. Scans of equal content are copies, and never compared.
        points: float32 [V, N, 3], sampled, in the unit sphere.
        scale: that they were divided by, in the scan's units.
        patch_index: int [V, G, K], rows of each patch's points, the centre first.
        descriptors: float16 [V, G, F], see `describe_patches`.
        patch_logits: float32 [V, G], the detector's own.
        object_logits: float32 [V], likewise.
    """

    digest: str
    points: Tensor
    scale: float
    patch_index: Tensor
    descriptors: Tensor
    patch_logits: Tensor
    object_logits: Tensor

    def tensors(self, samplings: int | None = None) -> dict[str, Tensor]:
        """Return all but the digest as tensors to be kept on disk, of so many samplings."""
        some = slice(samplings)
        kept = {name: value[some] for name, value in vars(self).items() if name in _BY_SAMPLING}
        kept["patch_index"] = kept["patch_index"].to(torch.int16)
        kept["scale"] = torch.tensor(self.scale, dtype=torch.float64)
        return {name: tensor.contiguous() for name, tensor in kept.items()}

    @staticmethod
    def from_tensors(digest: str, tensors: dict[str, Tensor]) -> DescribedScan:
        """Make the scan of which `tensors` were kept.

        Raises:
            KeyError: if one is missing.
        """
        own = {name: tensors[name] for name in _BY_SAMPLING}
        return DescribedScan(digest=digest, scale=float(tensors["scale"]), **own)


_BY_SAMPLING = ("points", "patch_index", "descriptors", "patch_logits", "object_logits")


def describe_patches(features: Features) -> Tensor:
    """Describe each patch by its taps, averaged over the nearest patches: float16 [B, G, L C]."""
    taps = features.taps.transpose(1, 2).flatten(2)
    centres = patch_centres(features.points, features.patch_index)
    near = knn(centres, centres, min(SMOOTHED, centres.shape[1]))
    return gather(taps, near).mean(2).half()


class ComparedScans:
    """Scans that others are compared with, in the space of their principal components."""

    def __init__(self, scans: Sequence[DescribedScan], device: torch.device | str = "cpu") -> None:
        """Find the components and project the scans.

        Args:
            scans: at least one; all of one encoder. Their order does not matter.
            device: to compute on.
        """
        self.device = device
        ordered = sorted(scans, key=lambda scan: scan.digest)
        self.digests = [scan.digest for scan in ordered]
        few = [scan.descriptors[:COMPARED_SAMPLINGS].to(device).float() for scan in ordered]
        self.mean, self.axes = _principal_axes(few)
        self.projected = [self.project(each).flatten(0, 1) for each in few]
        self.squares = [each.square().sum(1) for each in self.projected]

    def __len__(self) -> int:
        return len(self.digests)

    def project(self, descriptors: Tensor) -> Tensor:
        """Project descriptors [..., F] to [..., at most `DIMENSIONS`]."""
        return (descriptors.to(self.device).float() - self.mean) @ self.axes

    def distances(self, scan: DescribedScan) -> Tensor:
        """Return each patch's distance to the nearest patch of every scan but copies: [V, G, R]."""
        queries = self.project(scan.descriptors).flatten(0, 1)
        own = queries.square().sum(1)
        columns = [
            torch.addmm(squares, queries, other.T, alpha=-2).amin(1) + own
            for digest, other, squares in zip(
                self.digests, self.projected, self.squares, strict=True
            )
            if digest != scan.digest
        ]
        found = torch.stack(columns, 1).clamp(min=0).sqrt()
        return found.view(*scan.descriptors.shape[:2], -1).cpu()


def _principal_axes(descriptors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean [F] and the partly whitened principal axes [F, D] of descriptors."""
    count = sum(each.shape[0] * each.shape[1] for each in descriptors)
    mean = torch.stack([each.flatten(0, 1).sum(0) for each in descriptors]).sum(0) / count
    width = len(mean)
    covariance = mean.new_zeros(width, width)
    for each in descriptors:
        centred = each.flatten(0, 1) - mean
        covariance.addmm_(centred.T, centred)
    variance, axes = torch.linalg.eigh((covariance / count).double())
    kept = min(DIMENSIONS, width)
    variance, axes = variance[-kept:], axes[:, -kept:]
    floor = variance[-1] * torch.finfo(torch.float32).eps
    return mean, (axes / variance.clamp(min=floor) ** (WHITENED / 2)).float()


def recurring_distance(distances: Tensor) -> Tensor:
    """Average the lowest `RECURRING` of the distances [V, G, R] to unlabelled scans: [V, G]."""
    count = max(1, round(RECURRING * distances.shape[-1]))
    return distances.topk(count, dim=-1, largest=False).values.mean(-1)


def standardised(values: Tensor) -> Tensor:
    """Shift and scale a scan's values [V, G] by their median and median absolute deviation.

    The result says how many standard deviations (of a normal distribution with that deviation) a
    place lies above what is usual in its own scan. Defects do not set this scale as long as they
    cover less than half of it, nor do noise, density or the side that was scanned, which move all
    places of a scan alike.
    """
    away = values - values.median()
    return away / (1.4826 * away.abs().median()).clamp(min=1e-6)


ALIKE = 0.03
"""Largest relative difference of the extents of two scans of one part. Over the development sets
it parted them best: 70 to 96 % of the scans of a part agree within it (the others were seen from
one side only, or have lost a piece), and 3 to 21 % of the scans of different parts of one kind."""
ONE_PART = (0.3, 0.6)
"""Share of the other scans that a typical scan agrees with: at or below the first they count as
different parts, at or above the second as one part, and between as something of both."""


def extents(scan: DescribedScan) -> Tensor:
    """Return a scan's standard deviations along its principal axes, in its units: float64 [3].

    The sampled points are spread evenly over the surface, whatever the density of the scan.
    """
    points = scan.points.flatten(0, 1).double()
    centred = points - points.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(points))
    return variances.clamp(min=0).sqrt() * scan.scale


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Tell which extents [A, 3] and [B, 3] agree within `ALIKE` in all three: bool [A, B]."""
    tiny = torch.finfo(torch.float64).tiny
    first, second = first.clamp(min=tiny).log(), second.clamp(min=tiny).log()
    return (first[:, None] - second[None]).abs().amax(2) < ALIKE


def shares_alike(sizes: Tensor) -> Tensor:
    """Return for each of several extents [A, 3] the share of the others that agree with it: [A]."""
    agreeing = agreement(sizes, sizes).double().sum(1) - 1
    return agreeing / max(1, len(sizes) - 1)


def one_part_weight(shares: Tensor) -> float:
    """Say how far scans are of one part, from 0 to 1, by the shares of others they agree with."""
    low, high = ONE_PART
    return float(((shares.median() - low) / (high - low)).clamp(0, 1))
