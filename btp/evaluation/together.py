"""Score scans by other scans of the same part: what is normal recurs in them, a defect does not.

Nothing is learned and no label is used. Patches are compared with those of unlabelled scans of the
same batch (mutual scoring: Li et al., "MuSc", ICLR 2024), of scans known to be good (a memory: Roth
et al., "PatchCore", CVPR 2022), or of both. The distances are then put on the scale of the
detector's own logits and added to them.

Shapes: V samplings of a scan, N points and G patches in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from btp.evaluation.patch_distances import (
    ComparedScans,
    DescribedScan,
    agreement,
    extents,
    one_part_weight,
    recurring_distance,
    shares_alike,
    standardised,
)
from btp.geometry.patches import patch_of_uncovered, patches_to_points

MOST_OTHERS = 64
"""Scans that one is compared with at most, so that cost grows with the number of scans alone."""
KEPT = 0.25
"""Weight of the detector's own logits beside the distances to scans that are of one part. Over the
development sets 0, 0.25 and 0.5 gave object AUROC 0.82, 0.86 and 0.85 together, and 0.78, 0.82 and
0.83 against four good scans."""
USUAL = 4.0
"""Standard deviations that the highest patches of a good scan lie above its usual ones: a score of
0.5."""
HIGHEST = 0.04
"""Share of the patches whose mean is the object's evidence: the highest ones."""


@dataclass(frozen=True)
class Judgement:
    """What other scans say of one.

    Attributes:
        patch_logits: float32 [V, G]; their sigmoid is a score in 0..1.
        object_logits: float32 [V], likewise.
        weight: 0 where the others are not of the same part, and the detector's own logits were
            left as they are, to 1.
        others: number of unlabelled scans compared with.
        good: number of good ones.
    """

    patch_logits: Tensor
    object_logits: Tensor
    weight: float
    others: int
    good: int


class Judge:
    """Scores scans by unlabelled scans of the same part, by good ones, or by both."""

    def __init__(
        self,
        unlabelled: Sequence[DescribedScan] = (),
        good: Sequence[DescribedScan] = (),
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Choose the scans to compare with, at most `MOST_OTHERS` of each kind.

        Args:
            unlabelled: the scans of a batch, those to be judged among them.
            good: known to be without defects.
            seed: of the choice.
            device: to compute on.
        """
        self.weight, self.unlabelled = 0.0, None
        self.good_weight, self.good = 1.0, None
        if unlabelled:
            chosen = choose(unlabelled, MOST_OTHERS + 1, seed)
            shares = shares_alike(torch.stack([extents(scan) for scan in chosen]))
            self.weight = one_part_weight(shares)
            # Seen from one side only, or broken, a scan says little of how the part should be.
            whole = [scan for scan, share in zip(chosen, shares, strict=True) if share >= 0.5]
            self.unlabelled = ComparedScans(whole if len(whole) > 2 else chosen, device)
        if good:
            kept = choose(good, MOST_OTHERS, seed)  # by digest, as `ComparedScans` has them
            self.sizes = torch.stack([extents(scan) for scan in kept])
            if len(kept) > 1:
                self.good_weight = one_part_weight(shares_alike(self.sizes))
            self.good = ComparedScans(kept, device)

    def knows(self, scan: DescribedScan) -> bool:
        """Tell whether a scan's extents agree with those of a good one that is no copy of it."""
        if self.good is None:
            return False
        others = torch.tensor([digest != scan.digest for digest in self.good.digests])
        return bool((agreement(extents(scan)[None], self.sizes)[0] & others).any())

    def __call__(self, scan: DescribedScan) -> Judgement:
        """Judge a scan; copies of it are left out."""
        weight, evidence, others, good = 0.0, [], 0, 0
        if self.unlabelled is not None and self.weight:
            distances = self.unlabelled.distances(scan)[..., :MOST_OTHERS]
            others, weight = distances.shape[-1], self.weight
            evidence += [standardised(recurring_distance(distances))] if others else []
        if self.good is not None and self.good_weight and self.knows(scan):
            distances = self.good.distances(scan)
            good, weight = distances.shape[-1], max(weight, self.good_weight)
            evidence += [standardised(distances.amin(-1))] if good else []
        if not evidence:
            return Judgement(scan.patch_logits, scan.object_logits, 0.0, 0, 0)
        unusual = torch.stack(evidence).mean(0) + KEPT * scan.patch_logits - USUAL
        count = max(1, round(HIGHEST * unusual.shape[1]))
        top = unusual.topk(count, dim=1).values.mean(1)
        return Judgement(
            torch.lerp(scan.patch_logits, unusual, weight),
            torch.lerp(scan.object_logits, top, weight),
            weight,
            others,
            good,
        )


def choose(scans: Sequence[DescribedScan], most: int, seed: int) -> list[DescribedScan]:
    """Choose at most so many scans of different content by a seed, whatever their order."""
    distinct = sorted({scan.digest: scan for scan in scans}.values(), key=lambda s: s.digest)
    if len(distinct) <= most:
        return distinct
    chosen = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))[:most]
    return [distinct[row] for row in sorted(chosen.tolist())]


def point_scores(scan: DescribedScan, patch_logits: Tensor, uncovered: str) -> Tensor:
    """Carry patch logits [V, G] to the points as scores in 0..1: [V, N].

    A point has the mean score of the patches that hold it, or else that of the "nearest" patch or
    "zero" (`DetectorConfig.uncovered`).
    """
    index, scores = scan.patch_index.long(), patch_logits.sigmoid()
    held = patches_to_points(scores, index, scan.points.shape[1])
    if uncovered == "zero":
        return held
    patch = patch_of_uncovered(scan.points, index)
    return torch.where(patch < 0, held, scores.gather(1, patch.clamp(min=0)))
