"""The committed model is the one that its card speaks of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import btp
from btp.pretraining.model_card import FILES, SHOWN, quick_check


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "checkpoints" / "mini"


def test_the_card_s_figures_come_out_again(folder: Path) -> None:
    recorded = json.loads((folder / "check.json").read_text())
    found = quick_check(folder)
    assert {name: found[name] for name in FILES} == {name: recorded[name] for name in FILES}
    for name in SHOWN:
        assert found[name] == pytest.approx(recorded[name], abs=0.01), name


def test_the_files_are_small(folder: Path) -> None:
    assert sum((folder / f"{name}.safetensors").stat().st_size for name in FILES) < 30e6


def test_the_embedded_detector_sees_a_dent() -> None:
    rng = np.random.default_rng(3)
    ball = rng.normal(size=(20_000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    dented = np.argsort(((ball - ball[0]) ** 2).sum(1))[:500]
    scan = ball + 0.002 * rng.normal(size=ball.shape)
    distance = np.linalg.norm(ball[dented] - ball[0], axis=1, keepdims=True)
    scan[dented] *= 1 - 0.12 * (1 - (distance / distance.max()) ** 2)
    prediction = btp.load("mini").predict(40.0 * scan)
    assert prediction.point_scores.shape == (20_000,)
    inside = prediction.point_scores[dented].mean()
    outside = np.delete(prediction.point_scores, dented).mean()
    assert inside > 3 * outside
