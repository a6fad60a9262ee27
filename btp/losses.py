"""The joint loss of BTP: focal and dice of points, BCE of objects, InfoNCE of patches (Eq. 5-8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from btp.errors import ConfigError
from btp.types import Scores


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of Eq. 8; a term of weight 0 is not computed.

    Attributes:
        point: of L_local (Eq. 5), focal and dice.
        object: lambda_1, of L_global (Eq. 6), BCE.
        geometry: lambda_2, of L_geo (Eq. 7), InfoNCE.
    """

    point: float = 1.0
    object: float = 0.5
    geometry: float = 0.1


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Return the focal loss of point logits (Lin et al., ICCV 2017), the mean over all points.

    Args:
        logits: float [B, N].
        labels: bool or float [B, N], 1 where anomalous.
        gamma: focusing exponent.
        alpha: weight of the anomalous points; normal ones get 1 - alpha.
    """
    labels = labels.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p_true = torch.exp(-cross_entropy)
    weight = alpha * labels + (1 - alpha) * (1 - labels)
    return (weight * (1 - p_true) ** gamma * cross_entropy).mean()


def dice_loss(probabilities: Tensor, labels: Tensor, eps: float = 1e-6) -> Tensor:
    """Return one minus the Dice overlap of scores and labels, the mean over clouds.

    Args:
        probabilities: float [B, N].
        labels: bool or float [B, N].
        eps: added to the denominator, so that an all-normal cloud has loss 1, not NaN.
    """
    labels = labels.to(probabilities.dtype)
    overlap = 2 * (probabilities * labels).sum(1)
    return (1 - overlap / (probabilities.sum(1) + labels.sum(1) + eps)).mean()


def info_nce(features: Tensor, targets: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the InfoNCE of cosines in one direction: each feature finds its own target (Eq. 7).

    Args:
        features: float [M, F], learned descriptors of all patches of a batch.
        targets: float [M, F], the hand-crafted descriptor of the same patches; the targets of all
            other patches of the batch are the negatives.
        temperature: divides the cosines.
    """
    # the temperature divides what is small, not the similarities of all pairs
    logits = (F.normalize(features, dim=-1) / temperature) @ F.normalize(targets, dim=-1).T
    own = torch.arange(len(features), device=features.device)
    return F.cross_entropy(logits, own)


def joint_loss(
    scores: Scores, labels: Tensor, fpfh: Tensor | None, weights: LossWeights, temperature: float
) -> dict[str, Tensor]:
    """Return the joint loss of a batch as "total" (Eq. 8), and each of its terms unweighted.

    Args:
        scores: what the detector says of B clouds.
        labels: bool [B, N]; as in the release, a cloud counts as anomalous if any of these sampled
            points is.
        fpfh: float [B, G, 33], targets of the geometric descriptors; None without GFCM.
        weights: of the terms.
        temperature: of the InfoNCE term (D10).

    Returns:
        "focal", "dice", "bce", "info_nce" as far as their weight is not 0, and "total". Where the
        scores hold no descriptors, "info_nce" is left out whatever its weight.

    Raises:
        ConfigError: if the geometric term is wanted and has no targets.
    """
    terms: dict[str, Tensor] = {}
    total = scores.point_logits.new_zeros(())
    if weights.point:
        terms["focal"] = focal_loss(scores.point_logits, labels)
        terms["dice"] = dice_loss(scores.point_logits.sigmoid(), labels)
        total = total + weights.point * (terms["focal"] + terms["dice"])
    if weights.object:
        target = labels.any(1).to(scores.object_logits.dtype)
        terms["bce"] = F.binary_cross_entropy_with_logits(scores.object_logits, target)
        total = total + weights.object * terms["bce"]
    if weights.geometry and scores.geometry is not None:
        if fpfh is None:
            raise ConfigError("loss.geometry is not 0, but there are no FPFH targets; load them")
        terms["info_nce"] = info_nce(scores.geometry.flatten(0, 1), fpfh.flatten(0, 1), temperature)
        total = total + weights.geometry * terms["info_nce"]
    return terms | {"total": total}
