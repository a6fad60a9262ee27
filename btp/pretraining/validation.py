"""What a detector finds on the validation clouds: objects and makers of defects it never met."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from btp import metrics
from btp.models.detector import Detector
from btp.models.fast import for_encoding, for_scoring
from btp.models.point_language import PointLanguageModel
from btp.pretraining.corpus.captions import article
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.objectives import batch
from btp.runtime.batches import batches

LEAST_OF_A_KIND = 8
"""Defective clouds that a kind's own figure needs."""


def validation_figures(
    detector: Detector, model: PointLanguageModel, clouds: CorpusClouds
) -> dict[str, float]:
    """Measure a detector on captioned clouds with labels, at their sampled points.

    Args:
        detector: with its text embeddings.
        model: whose encoder it reads.
        clouds: validation clouds; those of origin "plain" are sound bodies that look odd.

    Returns:
        `point_auroc` and `aupro` over all points; `object_auroc` over all clouds; `within`, mean
        point AUROC inside each defective cloud; `plain`, mean object score of the odd sound
        bodies; `sound` and `found`, of the other sound clouds and of the defective ones; and
        `point <kind>` and `object <kind>` for each kind of defect against all sound clouds.
    """
    objects, points = _scores(detector, model, clouds)
    labels = clouds.labels.numpy()
    defective = labels.any(1)
    plain = np.array([origin == "plain" for origin in clouds.origins])
    kinds = np.array(clouds.defects)
    figures = {
        "point_auroc": metrics.point_metrics(list(labels), list(points))["auroc"],
        "object_auroc": metrics.object_metrics(defective, objects)["auroc"],
        "aupro": metrics.aupro(list(clouds.points.numpy()), list(labels), list(points)),
        "within": _mean(
            metrics.point_metrics([labels[i]], [points[i]])["auroc"]
            for i in np.flatnonzero(defective)
        ),
        "plain": _mean(objects[plain]),
        "sound": _mean(objects[~defective & ~plain]),
        "found": _mean(objects[defective]),
    }
    for kind in sorted({kind for kind in kinds[defective] if kind}):
        own = defective & (kinds == kind)
        if own.sum() >= LEAST_OF_A_KIND:
            rows = np.flatnonzero(own | ~defective)
            scores = [points[i] for i in rows]
            found = metrics.point_metrics([labels[i] for i in rows], scores)
            figures[f"point {kind}"] = found["auroc"]
            figures[f"object {kind}"] = metrics.object_metrics(own[rows], objects[rows])["auroc"]
    return figures


def shared_nouns(training: CorpusClouds, validation: CorpusClouds, most: int = 20) -> list[str]:
    """Return the first names of validation clouds that training has as well, frequent ones first.

    Args:
        training: whose names are known.
        validation: clouds of other objects.
        most: how many names to return.
    """
    known = {noun for own in training.nouns for noun in own}
    counted = Counter(
        own[0]
        for own, origin in zip(validation.nouns, validation.origins, strict=True)
        if own[0] in known and origin != "plain"
    )
    return sorted(counted, key=lambda noun: (-counted[noun], noun))[:most]


def names_found(
    model: PointLanguageModel, clouds: CorpusClouds, nouns: Sequence[str]
) -> dict[str, float]:
    """Measure how often a cloud's first name is the nearest among some ("a <noun>", Eq. 1).

    Args:
        model: both towers.
        clouds: of which those are used whose first name is one of `nouns`.
        nouns: to choose from.

    Returns:
        `names`, mean over the nouns that have a cloud of the share found, and `names_chance`;
        nothing where there are no nouns.
    """
    if not nouns:
        return {}
    rows = [i for i, own in enumerate(clouds.nouns) if own[0] in nouns]
    chosen = clouds.chosen(rows)
    text = model.encode_text([f"{article(noun)} {noun}" for noun in nouns]).float().cpu()
    best = (_embeddings(model, chosen) @ text.T).argmax(1).tolist()
    hits: dict[str, list[bool]] = {}
    for own, number in zip(chosen.nouns, best, strict=True):
        hits.setdefault(own[0], []).append(nouns[number] == own[0])
    return {
        "names": _mean(float(np.mean(found)) for found in hits.values()),
        "names_chance": 1 / len(nouns),
    }


def _scores(
    detector: Detector, model: PointLanguageModel, clouds: CorpusClouds
) -> tuple[np.ndarray, np.ndarray]:
    """Return object scores [M] and point scores [M, N]."""
    objects, points = [], []
    model, scoring = for_encoding(model), for_scoring(detector.eval())
    with torch.inference_mode():
        for chunk in batches(len(clouds), 16):
            features = model.encode(*batch(clouds, chunk, slice(None), model.device))
            scores = scoring(features)
            objects.append(scores.object_scores.cpu().numpy())
            points.append(scores.point_scores.cpu().numpy())
    return np.concatenate(objects), np.concatenate(points)


def _embeddings(model: PointLanguageModel, clouds: CorpusClouds) -> Tensor:
    """Return object embeddings [M, D]."""
    model = for_encoding(model)
    with torch.inference_mode():
        made = [
            model.encode(*batch(clouds, chunk, slice(None), model.device)).object_embedding.cpu()
            for chunk in batches(len(clouds), 16)
        ]
    return torch.cat(made)


def _mean(values: Iterable[float]) -> float:
    """Return the mean, or nan where there is nothing."""
    found = [float(v) for v in values]
    return float(np.mean(found)) if found else math.nan
