"""Figures of a detector on the validation clouds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ENCODER, RECIPE, tiny_model

from btp import metrics
from btp.models.checkpoint import new_detector
from btp.models.detector import Detector
from btp.models.point_encoder import patchify
from btp.models.point_language import PointLanguageModel
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.validation import names_found, shared_nouns, validation_figures

COUNT, N = 24, 128


@pytest.fixture(scope="module")
def clouds() -> CorpusClouds:
    """Balls; on every second one some points are defective."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(COUNT, N, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    labels = np.zeros((COUNT, N), bool)
    labels[::2, :20] = True
    kinds = ["" if i % 2 else ("dent", "rust")[i // 2 % 4 == 0] for i in range(COUNT)]
    return CorpusClouds(
        points=torch.from_numpy(points),
        surface=torch.from_numpy(rng.normal(size=(COUNT, N, 4))).half(),
        labels=torch.from_numpy(labels),
        patch_index=patchify(torch.from_numpy(points), ENCODER.point).to(torch.int16),
        captions=(("a ball",),) * COUNT,
        nouns=tuple(("ball", "egg") if i < 20 else ("stick",) for i in range(COUNT)),
        origins=tuple("plain" if i == 1 else "mine" for i in range(COUNT)),
        defects=tuple(kinds),
    )


@pytest.fixture(scope="module")
def detector() -> tuple[Detector, PointLanguageModel]:
    model = tiny_model()
    torch.manual_seed(0)
    made = new_detector(model.config, RECIPE.detector).eval()
    with torch.no_grad():
        made.text.copy_(model.encode_text(RECIPE.prompt.prompt_texts))
    return made, model


def test_figures_are_those_of_the_scores(
    clouds: CorpusClouds, detector: tuple[Detector, PointLanguageModel]
) -> None:
    found = validation_figures(*detector, clouds)
    scores = []
    with torch.inference_mode():
        for row in range(COUNT):  # one by one, without batches
            features = detector[1].encode(
                clouds.points[row : row + 1],
                clouds.surface[row : row + 1].float(),
                clouds.patch_index[row : row + 1].long(),
            )
            scores.append(detector[0](features))
    labels = clouds.labels.numpy()
    points = [s.point_scores[0].numpy() for s in scores]
    objects = np.array([float(s.object_scores[0]) for s in scores])
    bad = labels.any(1)
    expected = metrics.point_metrics(list(labels), points)["auroc"]
    assert found["point_auroc"] == pytest.approx(expected, abs=1e-4)
    expected = metrics.object_metrics(bad, objects)["auroc"]
    assert found["object_auroc"] == pytest.approx(expected, abs=1e-6)
    assert found["plain"] == pytest.approx(objects[1], abs=1e-5)
    assert found["found"] == pytest.approx(objects[bad].mean(), abs=1e-5)
    # nine dents are enough for figures of their own, three rusty ones are not
    assert "point dent" in found
    assert "point rust" not in found


def test_names_that_training_has_too_are_counted(clouds: CorpusClouds) -> None:
    training = replace(clouds, nouns=(("egg",),) * 23 + (("stick", "ball"),))
    assert shared_nouns(training, clouds) == ["ball", "stick"]
    assert shared_nouns(training, clouds, most=1) == ["ball"]
    assert shared_nouns(replace(clouds, nouns=(("cup",),) * COUNT), clouds) == []


def test_a_name_is_found_where_it_is_the_nearest(clouds: CorpusClouds) -> None:
    model = tiny_model()
    found = names_found(model, clouds, ["ball", "stick"])
    with torch.inference_mode():
        features = model.encode(
            clouds.points, clouds.surface.float(), clouds.patch_index.long()
        ).object_embedding
        best = (features @ model.encode_text(["a ball", "a stick"]).T).argmax(1)
    expected = (best[:20].eq(0).float().mean() + best[20:].eq(1).float().mean()) / 2
    assert found == {"names": pytest.approx(float(expected)), "names_chance": 0.5}
