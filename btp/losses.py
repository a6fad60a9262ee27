"""The joint loss of BTP (paper, Eq. 5-8) as functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from btp.errors import ConfigError
from btp.types import Scores


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of Eq. 8; a term with weight 0 is not computed."""

    point: float = 1.0  # L_local: focal and dice
    object: float = 0.5  # lambda_1 of L_global: BCE
    geometry: float = 0.1  # lambda_2 of L_geo: InfoNCE


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss (Lin et al. 2017) of point logits, mean over all points.

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
    """One minus the Dice overlap of each cloud's points, mean over clouds.

    Args:
        probabilities: float [B, N].
        labels: bool or float [B, N].
        eps: added to the denominator, so that an all-normal cloud has loss 1, not NaN.
    """
    labels = labels.to(probabilities.dtype)
    overlap = 2 * (probabilities * labels).sum(1)
    return (1 - overlap / (probabilities.sum(1) + labels.sum(1) + eps)).mean()


def info_nce(features: Tensor, targets: Tensor, temperature: float = 0.1) -> Tensor:
    """Cosine InfoNCE (Eq. 7), one direction: each feature finds its own target.

    Args:
        features: float [M, F], learned descriptors of all patches of a batch.
        targets: float [M, F], the hand-crafted descriptor of the same patches; the targets of all
            other patches of the batch are the negatives.
        temperature: of the softmax.
    """
    # the temperature divides what is small, not the similarities of all pairs
    logits = (F.normalize(features, dim=-1) / temperature) @ F.normalize(targets, dim=-1).T
    own = torch.arange(len(features), device=features.device)
    return F.cross_entropy(logits, own)


def joint_loss(
    scores: Scores, labels: Tensor, fpfh: Tensor | None, weights: LossWeights, temperature: float
) -> dict[str, Tensor]:
    """Eq. 8 and its terms.

    Args:
        scores: of a batch of B clouds.
        labels: bool [B, N]; as in the release, a cloud counts as anomalous if any of these sampled
            points is.
        fpfh: float [B, G, 33], targets of the geometric descriptors; None without GFCM.
        weights: of the terms.
        temperature: of the InfoNCE term (D10).

    Returns:
        Unweighted "focal", "dice", "bce", "info_nce" as far as their weight is not 0, and "total".

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
