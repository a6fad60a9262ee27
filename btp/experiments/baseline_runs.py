"""Baselines as runs: which of them tables need, and scoring one of them on every category."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import btp
from btp.data.dataset import Dataset
from btp.evaluation.scoring import CategoryScores
from btp.experiments.baselines import BASELINES, score_baseline
from btp.experiments.protocol import Plan, features_label, train_categories
from btp.experiments.runs import Run
from btp.experiments.score_run import circumstances, measure
from btp.features.store import FeatureStore


@dataclass(frozen=True)
class BaselinePlan:
    """One baseline's line of results.

    Attributes:
        name: in `BASELINES`.
        settings: dataset, recipe and seed; its train category counts if the baseline is trained.
    """

    name: str
    settings: Plan

    @property
    def train_cat(self) -> str | None:
        """None if it is not trained."""
        return self.settings.train_cat if BASELINES[self.name].needs_training else None

    def run(self, outputs: str | Path, encoder: str) -> Run:
        """Where its result is, or will be."""
        plan = self.settings
        recipe = plan.recipe.name
        if BASELINES[self.name].sees_normal_scans:  # these know of no recipe
            recipe = "any"
        label = recipe + features_label(n_points=plan.n_points, sampling_seed=plan.sampling_seed)
        folder = Path(outputs, plan.dataset, encoder, "baselines", self.name, label)
        return Run(folder / (self.train_cat or "untrained") / f"seed{plan.seed}")


def plan_baselines(
    tables: Sequence[str], base: Plan, categories: Sequence[str], seeds: Sequence[int]
) -> list[BaselinePlan]:
    """The baselines of Tables 1, 3 and 4: those that are trained on each training category.

    Memories depend on the seed by their coreset only, and zero-shot not at all: one seed each.
    """
    names: list[str] = []
    if "4" in tables:
        names = ["ulip_zero_shot"]
    if "1" in tables or "3" in tables:
        names = list(BASELINES)
    plans = []
    for name in names:
        if BASELINES[name].needs_training:
            few = train_categories(base.dataset, categories)
            chosen = [(category, seed) for seed in seeds for category in few]
        else:
            chosen = [("", seeds[0])]
        plans += [BaselinePlan(name, replace(base, train_cat=c, seed=s)) for c, s in chosen]
    return plans


def stored(
    plan: BaselinePlan,
    dataset: Dataset,
    store: FeatureStore,
    outputs: str | Path,
    thresholds: int | None,
) -> dict[str, Any] | None:
    """A baseline's result, if it was measured with these settings, features and scans.

    Raises:
        DataError: if it is damaged.
    """
    known = plan.run(outputs, store.model.config.name).result(dataset.name)
    wanted = _settings(plan, dataset, store, thresholds)
    return known if known and all(known.get(k) == v for k, v in wanted.items()) else None


def score_plan(
    plan: BaselinePlan,
    dataset: Dataset,
    store: FeatureStore,
    outputs: str | Path,
    command: str,
    thresholds: int | None = None,
) -> dict[str, Any]:
    """Score a baseline on every category that it has not been trained on; keep the result.

    Args:
        plan: which.
        dataset: every category is scored.
        store: of its features.
        outputs: folder of all runs.
        command: that repeats it, for the result.
        thresholds: of AU-PRO, None for exact.

    Returns:
        The result, as stored.
    """

    def scores() -> Iterator[CategoryScores]:
        seed, recipe = plan.settings.seed, plan.settings.recipe
        for category in dataset.categories:
            if category != plan.train_cat:
                yield score_baseline(
                    plan.name, dataset, store, category, plan.train_cat, seed, recipe
                )

    result = {
        **_settings(plan, dataset, store, thresholds),
        **circumstances(dataset, store),
        "command": command,
        **measure(scores(), thresholds),
    }
    plan.run(outputs, store.model.config.name).write_result(dataset.name, result)
    return result


def _settings(
    plan: BaselinePlan, dataset: Dataset, store: FeatureStore, thresholds: int | None
) -> dict[str, Any]:
    model = store.model
    recipe = asdict(plan.settings.recipe)
    if BASELINES[plan.name].sees_normal_scans:
        recipe = {"name": "any"}
    settings = {
        "btp": btp.__version__,
        "baseline": plan.name,
        "train_cat": plan.train_cat,
        "seed": plan.settings.seed,
        "n_points": store.n_points,
        "sampling_seed": store.seed,
        "encoder": {"name": model.config.name},
        "encoder_fingerprint": model.fingerprint,
        "encoder_trained": model.trained,
        "text_fingerprint": model.text_fingerprint,
        "recipe": recipe,
        "thresholds": thresholds,
        "scans": dataset.fingerprint(),
    }
    return dict(json.loads(json.dumps(settings)))  # as it is read back
