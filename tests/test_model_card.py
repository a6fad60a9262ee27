from __future__ import annotations

import json
import shutil
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
from btp.pretraining import model_card
from btp.pretraining.model_card import (
    FILES,
    SHOWN,
    Spread,
    one_category,
    predicted_figures,
    write_card,
)
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


def test_the_card_tells_how_towers_were_made_and_credits_meshes(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = json.loads((repository / "checkpoints" / "mini" / "pretraining.json").read_text())
    made["origins"] = {"scopia": 30, "turned": 70}
    made["settings"] = {
        "steps": 5,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "seed": 0,
        "contrast": 0.5,
        "geometry": 1.0,
    }
    made["best"] = {"step": 5.0, "retrieval": 0.25, "explained": 0.5}
    for name in FILES:
        shutil.copy(repository / "checkpoints" / "mini" / f"{name}.safetensors", tmp_path)
    (tmp_path / "pretraining.json").write_text(json.dumps(made))
    monkeypatch.setattr(model_card, "quick_check", lambda folder: {})
    write_card(tmp_path, [], named=0.5)
    text = " ".join((tmp_path / "README.md").read_text().split())
    assert "30 of them scans of real meshes (`btp/pretraining/corpus/`), without anomaly" in text
    assert "caption retrieval among 32 clouds 0.250, explained share of hidden patches'" in text
    assert "with the anomaly labels of their defects" in text  # the pretrainings before
    assert "| scopia | sweethome3d-furniture 1.8-1 | CC BY 3.0 | Scopia Visual" in text
    assert "turned" not in text
