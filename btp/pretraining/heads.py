"""The corpus as an annotated "category", on which the embedded detector's heads are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from btp.features.store import FeatureSet
from btp.models.fast import for_encoding
from btp.models.point_language import PointLanguageModel
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.objectives import batch
from btp.runtime.batches import batches
from btp.types import Features, Sample


def corpus_features(model: PointLanguageModel, clouds: CorpusClouds) -> FeatureSet:
    """Encode M clouds: features with taps in float16, and without FPFH."""
    parts, patches_used = [], slice(model.config.point.groups)
    model = for_encoding(model)  # the same features in a fraction of the time
    with torch.inference_mode():
        for chunk in batches(len(clouds), 16):
            points, surface, patches = batch(clouds, chunk, patches_used, model.device)
            features = model.encode(points, surface, patches)
            kept = replace(features, taps=features.taps.half(), surface=clouds.surface[chunk])
            parts.append(kept.map(lambda tensor: tensor.cpu().clone()))
    nowhere = Path()
    samples = (
        Sample("corpus", "test", str(i), nowhere, None, bool(labels.any()))
        for i, labels in enumerate(clouds.labels)
    )
    return FeatureSet(
        category="corpus",
        samples=tuple(samples),
        features=Features.stack(parts),
        labels=clouds.labels,
        counts=(),
        region_ids=clouds.labels.int(),
        repeated=torch.zeros(len(clouds), dtype=torch.bool),
    )
