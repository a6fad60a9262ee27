"""Scoring a set, and means that leave nothing out in silence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from tiny import ENCODER, POINTS, RECIPE, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.evaluation import scoring
from btp.evaluation.scoring import METRICS, CategoryScores, evaluate, mean_over_categories, score
from btp.features.store import DiskStore, FeatureSet
from btp.models.checkpoint import new_detector
from btp.models.detector import Detector
from btp.models.fast import for_scoring
from btp.types import Features, Scores


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_tiny_dataset(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DiskStore:
    return DiskStore(tmp_path_factory.mktemp("store"), tiny_model(), POINTS)


@pytest.fixture(scope="module")
def data(dataset: Folder, store: DiskStore) -> FeatureSet:
    return store.load(dataset, "egg", "test")


def height(features: Features) -> Scores:
    """A detector that calls the upper points anomalous."""
    z = features.points[..., 2]
    return Scores(z, z, (z + 1) / 2, z.amax(1), (z.amax(1) + 1) / 2)


def test_scores_come_in_the_set_s_order(data: FeatureSet) -> None:
    scores = score(height, data)
    expected = (data.features.points[..., 2].numpy() + 1) / 2
    np.testing.assert_allclose(scores.point_scores, expected, rtol=1e-6)
    np.testing.assert_allclose(scores.object_scores, expected.max(1), rtol=1e-6)


def test_metrics_are_those_of_sklearn_at_both_resolutions(
    dataset: Folder, data: FeatureSet
) -> None:
    scores = score(height, data)
    values = scores.measure()
    assert tuple(values) == METRICS
    objects = data.is_anomalous.numpy()
    assert values["object_auroc"] == pytest.approx(roc_auc_score(objects, scores.object_scores))
    flat = data.labels.flatten().numpy(), scores.point_scores.ravel()
    assert values["point_auroc"] == pytest.approx(roc_auc_score(*flat))
    assert values["point_ap"] == pytest.approx(average_precision_score(*flat))
    labels, raw = [], []
    for i, sample in enumerate(data.samples):
        cloud = dataset.read(sample)
        assert cloud.labels is not None
        points = cloud.points - cloud.points.mean(0)
        points /= np.linalg.norm(points, axis=1).max()
        sampled = data.features.points[i].numpy()
        nearest = ((points[:, None] - sampled) ** 2).sum(-1).argmin(1)
        labels.append(cloud.labels)
        raw.append(scores.point_scores[i][nearest])
    flat = np.concatenate(labels), np.concatenate(raw)
    assert values["raw_point_auroc"] == pytest.approx(roc_auc_score(*flat))
    assert values["raw_point_ap"] == pytest.approx(average_precision_score(*flat))


def test_a_category_with_one_label_is_named_not_averaged(data: FeatureSet) -> None:
    normal = slice(0, 2)
    only = dataclasses.replace(
        data,
        samples=data.samples[normal],
        features=data.features.map(lambda t: t[normal]),
        labels=data.labels[normal],
        counts=data.counts[normal],
        region_ids=data.region_ids[normal],
    )
    full, empty = (score(height, d).measure() for d in (data, only))
    assert math.isnan(empty["object_auroc"])
    assert math.isnan(empty["aupro"])
    means = mean_over_categories([full, empty])
    assert means["object_auroc"] == (full["object_auroc"], [1])
    assert math.isnan(mean_over_categories([empty])["aupro"][0])


def test_the_train_category_is_never_scored(
    dataset: Folder, store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = new_detector(ENCODER, RECIPE.detector).eval()
    detector.text.copy_(torch.nn.functional.normalize(torch.randn(2, 16), dim=-1))
    loaded: list[str] = []
    real = DiskStore.load

    def spy(self: DiskStore, data: Folder, category: str, *more: Any) -> FeatureSet:
        loaded.append(category)
        return real(self, data, category, *more)

    monkeypatch.setattr(DiskStore, "load", spy)
    folded: list[Detector] = []

    def fold(given: Detector) -> Callable[..., Scores]:
        folded.append(given)
        return for_scoring(given)

    monkeypatch.setattr(scoring, "for_scoring", fold)
    scored = [s.data.category for s in evaluate(detector, dataset, store, seen="egg")]
    assert scored == loaded == ["box", "disc"]
    assert folded == [detector]  # once, not once a category
    assert len(list(evaluate(detector, dataset, store, seen=None))) == 3


def test_thresholds_change_aupro_alone(data: FeatureSet) -> None:
    noise = np.random.default_rng(0).random(data.labels.shape) + 0.1 * data.labels.numpy()
    scores = CategoryScores(data, noise.max(1), noise)
    exact, coarse = scores.measure(), scores.measure(thresholds=3)
    changed = {name for name in METRICS if exact[name] != coarse[name]}
    assert changed == {"aupro", "raw_aupro"}


def test_scoring_keeps_no_graph(data: FeatureSet) -> None:
    weight = torch.ones((), requires_grad=True)

    def detector(features: Features) -> Scores:
        return height(features.map(lambda t: t * weight if t.is_floating_point() else t))

    assert score(detector, data).point_scores.dtype == np.float32
