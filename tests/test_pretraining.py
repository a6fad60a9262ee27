from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import ENCODER

from btp import pretraining
from btp.data.corpus.shards import CorpusClouds
from btp.errors import WeightsError
from btp.models.point_encoder import patchify
from btp.pretraining import Pretraining, pretrain

SURFACE = 3
TINY = replace(ENCODER, point=replace(ENCODER.point, point_features=SURFACE, constant_feature=None))
SETTINGS = Pretraining(
    steps=6, batch_size=4, groups=12, warmup=2, name=0.5, bfloat16=False, validate_every=2, seed=3
)


def clouds(count: int, seed: int) -> CorpusClouds:
    """Balls and sticks; on every second one a patch of points stands out in a surface channel."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 128, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    points[count // 2 :, :, :2] *= 0.1
    labels = np.zeros((count, 128), bool)
    for cloud, own in zip(points[::2], labels[::2], strict=True):
        own[np.argsort(((cloud - cloud[0]) ** 2).sum(1))[:20]] = True
    surface = rng.normal(0, 0.1, (count, 128, SURFACE)) + labels[..., None]
    shapes = ["ball"] * (count // 2) + ["stick"] * (count - count // 2)
    return CorpusClouds(
        points=torch.from_numpy(points),
        surface=torch.from_numpy(surface).half(),
        labels=torch.from_numpy(labels),
        patch_index=patchify(torch.from_numpy(points), TINY.point).to(torch.int16),
        captions=tuple((f"a {shape}", f"one {shape}") for shape in shapes),
        nouns=tuple(("ball", "egg") if shape == "ball" else ("stick",) for shape in shapes),
        families=tuple(shapes),
    )


def test_a_tiny_model_learns_defects_and_names(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=60, batch_size=8, learning_rate=3e-3, validate_every=60)
    kept = pretrain(TINY, settings, clouds(16, 0), clouds(32, 1), tmp_path)
    assert kept["step"] == 60
    assert kept["point_auroc"] > 0.95
    model = pretraining.PointLanguagePretrainer(TINY, settings.groups)
    state = torch.load(tmp_path / "pretraining.pt", weights_only=True)
    model.load_state_dict(state["model"])
    fresh = clouds(16, 2)
    words = pretraining._Words.of(fresh, TINY.text.context_length, torch.device("cpu"))
    with torch.inference_mode():
        found = model.eval().points(fresh.points, fresh.surface.float()).object_embedding
        best = (found @ model.encode_text(words.names).T).argmax(1)
    right = [{0: "ball", 1: "egg", 2: "stick"}[int(b)] for b in best]
    hits = np.mean([name in nouns for name, nouns in zip(right, fresh.nouns, strict=True)])
    assert hits > 0.85  # chance: a half


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, held_out = clouds(8, 0), clouds(8, 1)
    pretrain(TINY, SETTINGS, data, held_out, tmp_path / "whole")
    losses = pretraining._losses

    def interrupted(*args):
        if args[4] == 3:
            raise KeyboardInterrupt
        return losses(*args)

    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "_losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(TINY, SETTINGS, data, held_out, tmp_path / "cut")
    pretrain(TINY, SETTINGS, data, held_out, tmp_path / "cut", resume=True)
    states = [
        torch.load(tmp_path / name / "pretraining.pt", weights_only=True)["model"]
        for name in ("whole", "cut")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with pytest.raises(WeightsError, match="with other settings; repeat them"):
        pretrain(TINY, replace(SETTINGS, seed=4), data, held_out, tmp_path / "cut", resume=True)


def test_a_cloud_resembles_its_nouns_best_first() -> None:
    words = pretraining._Words.of(clouds(4, 0), 77, torch.device("cpu"))
    first = 1 / (1 + np.exp(-1.0))
    expected = [[first, 1 - first, 0]] * 2 + [[0, 0, 1]] * 2
    np.testing.assert_allclose(words.resembles, expected, atol=1e-6)
    assert len(words.names) == 3
