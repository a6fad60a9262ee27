"""How much each switch of a recipe gains, on the annotated scans of train categories.

Either a train category's scans are cut in two, the heads trained on one half and measured on the
other; or they are trained on one train category and measured on the others. These are scans of
those categories' test splits (D13), and the tables test on each train category too, when another
is trained on: a recipe that was chosen by these figures has seen part of what it is tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from btp.evaluation.scoring import METRICS, mean_over_categories, score
from btp.features.store import FeatureSet
from btp.models.fast import for_scoring
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training.loop import train


@dataclass(frozen=True)
class Gain:
    """Figures of one alternative, mean over train categories, and what they gain over the base.

    Attributes:
        name: of the alternative, such as "object_score=max".
        figures: metric -> mean.
        gains: metric -> mean of the paired differences to the base.
        errors: metric -> standard error of that mean.
    """

    name: str
    figures: dict[str, float]
    gains: dict[str, float]
    errors: dict[str, float]


def half_figures(
    data: FeatureSet, model: PointLanguageModel, recipe: Recipe, seed: int
) -> dict[str, float]:
    """Train on one half of a category's scans and measure on the other.

    Args:
        data: annotated scans of one category; normal and defective ones are halved apart.
        model: that made `data`.
        recipe: to train with.
        seed: of initialisation, order and halves.
    """
    learned, kept = halves(data.is_anomalous.numpy(), seed)
    with TemporaryDirectory() as folder:
        detector = train(data.rows(learned), model, recipe, seed, Path(folder), quiet=True)
        return score(for_scoring(detector), data.rows(kept), model.device).measure()


def across_figures(
    data: FeatureSet,
    others: Sequence[FeatureSet],
    model: PointLanguageModel,
    recipe: Recipe,
    seed: int,
) -> dict[str, float]:
    """Train on one category's scans and measure on the other categories': the mean of each metric.

    Args:
        data: annotated scans of one category.
        others: of each other one.
        model: that made them.
        recipe: to train with.
        seed: of initialisation and order.
    """
    with TemporaryDirectory() as folder:
        scorer = for_scoring(train(data, model, recipe, seed, Path(folder), quiet=True))
    rows = [score(scorer, other, model.device).measure() for other in others]
    return {name: mean for name, (mean, _) in mean_over_categories(rows).items()}


def halves(defective: np.ndarray, seed: int) -> tuple[list[int], list[int]]:
    """Cut rows into two random halves with as many defective scans each, give or take one."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[int], list[int]] = ([], [])
    for kind in (True, False):
        rows = rng.permutation(np.flatnonzero(defective == kind))
        parts[0].extend(rows[::2].tolist())
        parts[1].extend(rows[1::2].tolist())
    return sorted(parts[0]), sorted(parts[1])


def gains(
    categories: Sequence[str],
    load: Callable[[str, Recipe], FeatureSet],
    model: PointLanguageModel,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    across: bool = False,
) -> list[Gain]:
    """Compare recipes on the halves of every category, or across categories.

    Args:
        categories: train categories.
        load: gives the annotated scans of a category, with what a recipe needs.
        model: that made them.
        recipes: by name; the first is the base that the others are compared with.
        seeds: of trainings; each also cuts other halves.
        across: train on each category and measure on the others.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in recipes}
    for category in categories:
        for name, recipe in recipes.items():
            data = load(category, recipe)
            if across:
                others = [load(other, recipe) for other in categories if other != category]
                found[name] += [across_figures(data, others, model, recipe, s) for s in seeds]
            else:
                found[name] += [half_figures(data, model, recipe, seed) for seed in seeds]
    tables = {
        name: {metric: np.array([row[metric] for row in rows]) for metric in METRICS}
        for name, rows in found.items()
    }
    base = next(iter(tables.values()))
    return [
        Gain(
            name,
            {metric: float(np.nanmean(values)) for metric, values in table.items()},
            {metric: float(np.nanmean(table[metric] - base[metric])) for metric in METRICS},
            {metric: _standard_error(table[metric] - base[metric]) for metric in METRICS},
        )
        for name, table in tables.items()
    ]


def _standard_error(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else float("nan")
