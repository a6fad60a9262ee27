"""Made-up scans, models of full size and features as the store gives them, to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from btp.benchmark.settings import Settings
from btp.data.prepare import prepare
from btp.features.store import FeatureSet
from btp.geometry.fpfh import fpfh, patch_fpfh
from btp.metrics import count_points, regions
from btp.models.checkpoint import new_detector
from btp.models.detector import Detector
from btp.models.fast import for_encoding
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.models.text_encoder import TextConfig
from btp.recipe import Recipe
from btp.types import Cloud, Features, Sample


def raw_cloud(seed: int, n: int) -> Cloud:
    """Make a scan with a dent: float32 [n, 3], its points labelled."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    points *= rng.uniform(1, 3, 3) / np.linalg.norm(points, axis=1, keepdims=True)
    labels = ((points - points[0]) ** 2).sum(1) < 0.25
    points[labels] *= 0.95
    return Cloud(points.astype(np.float32), labels, "made up", f"scan {seed}")


def defects(seed: int, n: int, count: int) -> tuple[list[NDArray], list[NDArray], list[NDArray]]:
    """Make points, labels and scores of `count` clouds of `n` points; some 3 % are anomalous."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels, scores = [], []
    for _ in range(count):
        marks = np.zeros(n, bool)
        for place in rng.integers(n, size=2):
            marks |= ((points - points[place]) ** 2).sum(1) < 0.25**2
        labels.append(marks)
        scores.append((rng.normal(size=n) + 2 * marks).astype(np.float32))
    return [points.copy() for _ in range(count)], labels, scores


@dataclass(frozen=True)
class Workload:
    """One encoder with untrained heads, and clouds with their features.

    Attributes:
        model: the encoder; its text tower is a small one, and no figure holds it.
        detector: heads for the recipe, with text embeddings, in eval mode.
        recipe: of the heads.
        data: as the store gives it, with FPFH targets.
    """

    model: PointLanguageModel
    detector: Detector
    recipe: Recipe
    data: FeatureSet

    @property
    def surface(self) -> Tensor | None:
        """Surface channels of all clouds, where the encoder reads them; else None."""
        return self.data.features.surface if self.model.reads_surface else None


def make(settings: Settings, encoder: EncoderConfig, count: int, n_points: int = 0) -> Workload:
    """Make heads for an encoder, and encode clouds.

    Args:
        settings: recipe, device and points of a cloud.
        encoder: sizes and weights.
        count: of the clouds.
        n_points: of each; 0 for the settings'.
    """
    n_points = n_points or settings.n_points
    # Fixed prompts are encoded once, before any step: their tower's size is in no figure.
    text = TextConfig(width=64, heads=2, layers=1, embed_dim=encoder.point.embed_dim)
    model = PointLanguageModel(present(replace(encoder, text_weights=None, text=text)))
    model = PointLanguageModel(model.config, settings.device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = new_detector(model.config, settings.recipe.detector)
        detector.text.copy_(F.normalize(torch.randn(2, encoder.point.embed_dim), dim=-1))
    detector = detector.eval().to(model.device)
    data = _feature_set(model, count, n_points)
    return Workload(model, detector, settings.recipe, data)


def present(encoder: EncoderConfig) -> EncoderConfig:
    """Return the encoder's config with its weights where they are, else with random ones."""
    from btp.models.point_language import located

    path = encoder.point_weights
    there = path is not None and Path(located(path)).is_file()
    return encoder if there else replace(encoder, point_weights=None)


def _feature_set(model: PointLanguageModel, count: int, n_points: int) -> FeatureSet:
    prepared = [prepare(raw_cloud(seed, 2 * n_points), n_points) for seed in range(count)]
    points = torch.stack([torch.from_numpy(each.points) for each in prepared])
    surface = None
    if model.reads_surface:  # of the right size is all that time depends on
        channels = model.config.point.point_features
        shape = (count, n_points, channels)
        surface = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    fast = for_encoding(model)
    with torch.inference_mode():
        encoded = [
            fast.encode(
                points[i : i + 1].to(model.device),
                None if surface is None else surface[i : i + 1].to(model.device),
            ).map(Tensor.cpu)
            for i in range(count)
        ]
    features = Features.stack(encoded)
    ids = [regions(each.dense, each.labels) for each in prepared if each.labels is not None]
    sampled = np.stack([each[made.rows] for each, made in zip(ids, prepared, strict=True)])
    index = features.patch_index.numpy()
    return FeatureSet(
        category="made up",
        samples=tuple(
            Sample("made up", "test", f"scan {i}", Path(f"scan {i}"), None, True)
            for i in range(count)
        ),
        features=replace(
            features.map(torch.Tensor.clone),
            taps=features.taps.half(),
            fpfh=torch.stack([target(p, i) for p, i in zip(points, index, strict=True)]),
        ),
        labels=torch.from_numpy(sampled > 0),
        counts=tuple(
            count_points(made.nearest, each, n_points)
            for each, made in zip(ids, prepared, strict=True)
        ),
        region_ids=torch.from_numpy(sampled),
        repeated=torch.zeros(count, dtype=torch.bool),
    )


def target(
    points: Tensor, index: NDArray, describe: Callable[[NDArray], NDArray[np.float32]] = fpfh
) -> Tensor:
    """Compute the FPFH targets of a cloud's patches on its sampled points: float32 [G, 33]."""
    return torch.from_numpy(patch_fpfh(describe(points.cpu().numpy()), index))


def repeated(data: FeatureSet, count: int) -> FeatureSet:
    """Repeat the clouds until there are `count`: training takes as long on these."""
    return data.rows([i % len(data) for i in range(count)])
