"""Which runs each of the paper's tables needs, as data, and training one of them.

The paper does not say how its tables are averaged; it follows from Table 2 (README, "Data").
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from btp.config import build
from btp.data.dataset import Dataset
from btp.errors import ConfigError, DataError
from btp.experiments.runs import Run
from btp.features.store import FeatureStore
from btp.recipe import Recipe
from btp.training.loop import train
from btp.types import N_POINTS
from btp.weights.state_dict import read_metadata

TABLES = ("1", "2", "3", "4", "5")
# Tables 1 and 3-5 train on each of these and test on all others. Another dataset's: all it has.
TRAIN_CATEGORIES = {
    "real3d": ("car", "chicken", "gemstone"),
    "anomaly_shapenet": ("jar0", "cup0", "bowl5"),
    "demo": ("gear", "hook", "vase"),
}
# Table 4's rows in its order; "baseline" is ULIP alone and is not trained.
VARIANTS = (
    "baseline",
    "mgfem",
    "gfcm",
    "full",
    "without_loss_geo",
    "without_loss_local",
    "without_loss_global",
)
TRAINED_VARIANTS = VARIANTS[1:]
POINTS = (1024, 2048, 4096, 8192)  # Table 5's rows
FIRST_SEED = 111


@dataclass(frozen=True)
class Plan:
    """One training that a table needs, whether or not it was done: all that decides its digits.

    Attributes:
        dataset: its name.
        train_cat: category whose annotated scans are trained on.
        seed: of initialisation and order.
        recipe: with its variant.
        n_points: sampled from each scan.
        sampling_seed: of that.
        bfloat16: autocast the heads; None as the device suggests.
    """

    dataset: str
    train_cat: str
    seed: int
    recipe: Recipe
    n_points: int = N_POINTS
    sampling_seed: int = 0
    bfloat16: bool | None = None

    @property
    def label(self) -> str:
        """The recipe's name, with what else is not as usual: the name of the runs' folder."""
        return self.recipe.name + features_label(
            self.recipe.variant, self.n_points, self.sampling_seed, self.bfloat16
        )

    def run(self, outputs: str | Path, encoder: str) -> Run:
        """Where it is, or will be."""
        return Run.at(outputs, self.dataset, encoder, self.label, self.train_cat, self.seed)


def features_label(
    variant: str = "full",
    n_points: int = N_POINTS,
    sampling_seed: int = 0,
    bfloat16: bool | None = None,
) -> str:
    """What runs of these settings have behind their recipe's name; "" for the usual ones."""
    usual = {"variant": "full", "n_points": N_POINTS, "sampling_seed": 0, "bfloat16": None}
    given = (variant, n_points, sampling_seed, bfloat16)
    return "".join(
        f",{name}={str(value).lower()}"
        for (name, expected), value in zip(usual.items(), given, strict=True)
        if value != expected
    )


def train_categories(dataset: str, categories: Sequence[str]) -> tuple[str, ...]:
    """The training categories of Tables 1 and 3-5, as far as the dataset on disk has them."""
    return tuple(c for c in TRAIN_CATEGORIES.get(dataset, categories) if c in categories)


def seeds_from(count: int) -> tuple[int, ...]:
    """The first seeds of the paper: 111, 112, ..."""
    if count < 1:
        raise ConfigError(f"seeds is {count}; expected at least 1 (the paper: 10)")
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def check_table(table: str) -> tuple[str, ...]:
    """The tables that a setting means.

    Raises:
        ConfigError: if it means none.
    """
    if table == "all":
        return TABLES
    if table not in TABLES:
        raise ConfigError(f"table is {table!r}; expected one of {', '.join(TABLES)}, or all")
    return (table,)


def check_category(name: str, categories: Sequence[str], where: str) -> None:
    """Raises ConfigError for an unknown category, naming the nearest."""
    if name not in categories:
        close = difflib.get_close_matches(name, categories, n=1)
        hint = f". Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{where} is {name!r}; expected one of {', '.join(categories)}{hint}")


def plan_table(
    table: str,
    base: Plan,
    categories: Sequence[str],
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
) -> list[Plan]:
    """The trainings that a table needs: each once, all of one seed before the next.

    Args:
        table: one of `TABLES`.
        base: dataset and settings; its train category, seed and recipe are replaced.
        categories: of the dataset.
        recipes: by variant; those that the table needs.
        seeds: of each cell.

    Raises:
        DataError: if the dataset on disk has none of the training categories.
    """
    few = train_categories(base.dataset, categories)
    if not few and table != "2":
        wanted = ", ".join(TRAIN_CATEGORIES.get(base.dataset, ()))
        raise DataError(f"{base.dataset}: table {table} trains on {wanted}; none is on disk")
    chosen = categories if table == "2" else few
    variants = TRAINED_VARIANTS if table == "4" else ("full",)
    points = POINTS if table == "5" else (base.n_points,)
    return [
        replace(base, train_cat=category, seed=seed, recipe=recipes[variant], n_points=n_points)
        for n_points in points
        for variant in variants
        for seed in seeds
        for category in chosen
    ]


def plan_tables(
    tables: Sequence[str],
    base: Plan,
    categories: Sequence[str],
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
) -> list[Plan]:
    """The trainings that several tables need, each once; those of equal features side by side."""
    plans = [p for table in tables for p in plan_table(table, base, categories, recipes, seeds)]
    unique = list(dict.fromkeys(plans))
    return sorted(unique, key=lambda plan: plan.n_points != base.n_points)  # stable


def check_trained(plan: Plan, run: Run, store: FeatureStore) -> bool:
    """Whether a plan's training was done, by what its detector says of itself.

    Raises:
        DataError: if there is a detector that other settings made.
    """
    path = run.detector_path
    if not path.is_file():
        return False
    about = read_metadata(path) or {}
    found = asdict(build(Recipe, about.get("recipe", {}), f"{path}: recipe"))
    pairs = {f"recipe.{k}": (found[k], value) for k, value in asdict(plan.recipe).items()}
    for name, value in _features(plan, store).items():
        pairs[name] = (about.get(name, value), value)
    if not store.model.text_fingerprint:  # its file is not here, so nothing is known of it
        del pairs["text_fingerprint"]
    differing = [f"{name} {old}, not {new}" for name, (old, new) in pairs.items() if new != old]
    if differing:
        raise DataError(
            f"{path}: trained with {'; '.join(differing)}; move the folder away, or give the new "
            "settings a name: recipe.name=..."
        )
    return True


def train_plan(
    plan: Plan,
    dataset: Dataset,
    store: FeatureStore,
    outputs: str | Path,
    command: str,
    dataset_settings: Mapping[str, Any],
    resume: bool = True,
    wait: bool = True,
    quiet: bool = False,
) -> Run | None:
    """Train a planned run, unless it is finished; an interrupted one goes on where it was.

    One process at a time trains a run: others wait, and then find it finished.

    Args:
        plan: which.
        dataset: that it trains on.
        store: of the encoder, with the plan's points.
        outputs: folder of all runs.
        command: that repeats this run, for its result.
        dataset_settings: name and root of the dataset, for the result.
        resume: False trains anew whatever is there.
        wait: False returns None where another process is at it.
        quiet: show no progress bar.

    Raises:
        DataError: a finished run of other settings, or scans that cannot be trained on.
        WeightsError: an interrupted run of other settings.
    """
    if plan.recipe.variant == "baseline":
        raise ConfigError(
            "variant=baseline is ULIP alone: nothing to train, scripts/eval.py scores it"
        )
    check_category(plan.train_cat, dataset.categories, "train_cat")
    run = plan.run(outputs, store.model.config.name)
    with run.claimed(wait) as mine:
        if not mine:
            return None
        if not (resume and check_trained(plan, run, store)):
            data = store.load_annotated(dataset, plan.train_cat, plan.recipe)
            train(
                data,
                store.model,
                plan.recipe,
                plan.seed,
                run.folder,
                metadata_of(plan, store, command, dataset_settings),
                resume,
                bfloat16_of(plan, store),
                quiet,
            )
    return run


def bfloat16_of(plan: Plan, store: FeatureStore) -> bool:
    """Whether its heads are autocast on the store's device."""
    return store.model.device.type == "cuda" if plan.bfloat16 is None else plan.bfloat16


def metadata_of(
    plan: Plan, store: FeatureStore, command: str, dataset_settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What its detector's file says of it; arguments as of `train_plan`."""
    return {
        "dataset": dict(dataset_settings),
        "train_cat": plan.train_cat,
        "seed": plan.seed,
        **_features(plan, store),
        "encoder_trained": store.model.trained,
        "bfloat16": bfloat16_of(plan, store),
        "command": command,
    }


def _features(plan: Plan, store: FeatureStore) -> dict[str, Any]:
    """What decides a run's features, as its detector and result keep it."""
    return {
        "n_points": plan.n_points,
        "sampling_seed": plan.sampling_seed,
        "encoder_fingerprint": store.model.fingerprint,
        "text_fingerprint": store.model.text_fingerprint,
        "heads_digest": store.model.heads_digest if plan.recipe.heads == "pretrained" else "",
    }
