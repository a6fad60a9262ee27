from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored import record
from tiny import CATEGORIES, write_tiny_dataset
from trained import train_tiny

import btp
from btp.data.folder import Folder
from btp.experiments.protocol import Plan
from btp.pretraining.model_card import SHOWN, Spread, one_category, predicted_figures
from btp.recipe import Recipe


def test_spread_is_mean_and_deviation_over_seeds() -> None:
    rows = [dict.fromkeys(SHOWN, value) for value in (0.8, 0.9, 0.7)]
    spread = Spread.of("what", rows)
    assert spread.mean == pytest.approx(dict.fromkeys(SHOWN, 0.8))
    assert spread.std == pytest.approx(dict.fromkeys(SHOWN, 0.1))
    assert spread.line().startswith("| what | 3 | 80.0 ± 10.0 |")
    assert Spread.of("one", rows[:1]).line().startswith("| one | 1 | 80.0 |")


def test_one_category_averages_whole_seeds_only(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "data"))

    def add(label: str, train_cat: str, seed: int, value: float) -> None:
        run = Plan(dataset.name, train_cat, seed, Recipe(label)).run(tmp_path, "tiny")
        run.folder.mkdir(parents=True)
        run.detector_path.touch()
        run.write_record(dataset.name, record(train_cat, seed, egg=value))

    for number, category in enumerate(CATEGORIES):
        add("plus", category, 111, 0.6 + 0.1 * number)
        add("paper", category, 111, 0.0)
    add("plus", CATEGORIES[0], 112, 1.0)  # the other categories are missing
    rows = one_category(tmp_path, dataset, "tiny", "plus", CATEGORIES)
    assert rows == [pytest.approx(dict.fromkeys(SHOWN, 0.7))]
    rows = one_category(tmp_path, dataset, "tiny", "plus", CATEGORIES[:1])
    assert rows == [pytest.approx(dict.fromkeys(SHOWN, value)) for value in (0.6, 1.0)]


def test_predicted_figures_are_of_every_point_and_of_each_detector(tmp_path: Path) -> None:
    path = train_tiny(tmp_path / "project")
    dataset = Folder(write_tiny_dataset(tmp_path / "data"))
    inspector, swapped = btp.load(path), btp.load(path)
    swapped.score = lambda batch: [  # type: ignore[method-assign]
        replace(one, object_score=-one.object_score, point_scores=-one.point_scores)
        for one in inspector.score(batch)
    ]
    figures, turned = predicted_figures([inspector, swapped], dataset)
    assert set(figures) == set(SHOWN)
    assert np.isnan(figures["point_auroc"])
    for name in ("object_auroc", "raw_point_auroc"):
        assert figures[name] != pytest.approx(0.5)
        assert turned[name] == pytest.approx(1 - figures[name])
