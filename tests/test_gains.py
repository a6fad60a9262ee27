from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import CATEGORIES, POINTS, RECIPE, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.evaluation.scoring import score
from btp.experiments.gains import gains, half_figures, halves
from btp.features.store import DiskStore, load_annotated
from btp.training.loop import train


def test_halves_share_nothing_and_hold_both_kinds() -> None:
    defective = np.array([True] * 7 + [False] * 5)
    learned, kept = halves(defective, seed=4)
    assert sorted(learned + kept) == list(range(12))
    assert (sum(defective[learned]), sum(defective[kept])) == (4, 3)
    assert (sum(~defective[learned]), sum(~defective[kept])) == (3, 2)
    assert halves(defective, seed=5) != (learned, kept)


def test_gains_are_paired_differences_to_the_first_recipe(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "data", normal=4, defective=4))
    model = tiny_model()
    store = DiskStore(tmp_path / "store", model, POINTS)
    recipes = {
        "base": RECIPE,
        "again": RECIPE,
        "linear": RECIPE.changed(learning_rate=5e-2, loss=replace(RECIPE.loss, geometry=0.0)),
    }

    def load(category, recipe):
        return load_annotated(store, dataset, category, recipe)

    base, again, other = gains(CATEGORIES[:2], load, model, recipes, seeds=[1])
    assert set(again.gains.values()) <= {0.0}
    rows = {
        name: [
            half_figures(load(category, recipe), model, recipe, 1)["point_auroc"]
            for category in CATEGORIES[:2]
        ]
        for name, recipe in recipes.items()
    }
    differences = np.subtract(rows["linear"], rows["base"])
    assert base.figures["point_auroc"] == pytest.approx(np.mean(rows["base"]))
    assert other.gains["point_auroc"] == pytest.approx(differences.mean())
    assert other.errors["point_auroc"] == pytest.approx(abs(np.subtract(*differences)) / 2)
    assert other.gains["point_auroc"] != 0


def test_across_means_the_other_train_categories(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "data", normal=4, defective=4))
    model = tiny_model()
    store = DiskStore(tmp_path / "store", model, POINTS)

    def load(category, recipe):
        return load_annotated(store, dataset, category, recipe)

    (base,) = gains(CATEGORIES, load, model, {"base": RECIPE}, seeds=[1], across=True)
    found = []
    for category in CATEGORIES:
        detector = train(load(category, RECIPE), model, RECIPE, 1, tmp_path / category, quiet=True)
        others = [load(other, RECIPE) for other in CATEGORIES if other != category]
        found += [score(detector, other).measure()["point_auroc"] for other in others]
    assert base.figures["point_auroc"] == pytest.approx(np.mean(found))
