"""Which runs each of the paper's tables needs: data, and nothing that trains or scores.

The paper does not say how its tables are averaged; it follows from Table 2 (README, "Data").
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from btp.errors import ConfigError, DataError
from btp.experiments.runs import Run
from btp.recipe import Recipe
from btp.types import N_POINTS

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
        bfloat16: autocast the heads; None for float32, on every device (D20).
    """

    dataset: str
    train_cat: str
    seed: int
    recipe: Recipe
    n_points: int = N_POINTS
    sampling_seed: int = 0
    bfloat16: bool | None = None

    @property
    def unusual(self) -> dict[str, str]:
        """The settings that are not as usual, by the names that they have on a command line."""
        settings = {
            "variant": (self.recipe.variant, "full"),
            "n_points": (self.n_points, N_POINTS),
            "sampling_seed": (self.sampling_seed, 0),
            "bfloat16": (self.bfloat16, None),
        }
        return {k: str(v).lower() for k, (v, usual) in settings.items() if v != usual}

    @property
    def label(self) -> str:
        """Name of the runs' folder: the recipe's name, and what else is not as usual."""
        return ",".join([self.recipe.name, *(f"{k}={v}" for k, v in self.unusual.items())])

    def run(self, outputs: str | Path, encoder: str) -> Run:
        """Return the run, whether or not its folder exists yet."""
        folder = Path(outputs, self.dataset, encoder, self.label, self.train_cat)
        return Run(folder / f"seed{self.seed}")


def train_categories(dataset: str, categories: Sequence[str]) -> tuple[str, ...]:
    """Return the training categories of Tables 1 and 3-5, as far as they are on disk."""
    return tuple(c for c in TRAIN_CATEGORIES.get(dataset, categories) if c in categories)


def seeds_from(count: int) -> tuple[int, ...]:
    """Return so many of the paper's seeds: 111, 112, ..."""
    if count < 1:
        raise ConfigError(f"seeds is {count}; expected at least 1 (the paper: 10)")
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def check_table(table: str) -> tuple[str, ...]:
    """Return the tables that a setting means.

    Raises:
        ConfigError: if it means none.
    """
    if table == "all":
        return TABLES
    if table not in TABLES:
        raise ConfigError(f"table is {table!r}; expected one of {', '.join(TABLES)}, or all")
    return (table,)


def check_category(name: str, categories: Sequence[str], where: str) -> None:
    """Raise a ConfigError for an unknown category, naming the nearest."""
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
    """List the trainings that a table needs: each once, all of one seed before the next.

    Args:
        table: one of `TABLES`.
        base: dataset and settings; its train category, seed and recipe are replaced.
        categories: of the dataset.
        recipes: by variant; those that the table needs.
        seeds: of each cell.

    Raises:
        DataError: if the dataset on disk has none of the training categories.
    """
    some = train_categories(base.dataset, categories)
    if not some and table != "2":
        wanted = ", ".join(TRAIN_CATEGORIES.get(base.dataset, ()))
        raise DataError(f"{base.dataset}: table {table} trains on {wanted}; none is on disk")
    chosen = categories if table == "2" else some
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
    """List the trainings that several tables need, each once; those of equal features in a row."""
    plans = [p for table in tables for p in plan_table(table, base, categories, recipes, seeds)]
    unique = list(dict.fromkeys(plans))
    return sorted(unique, key=lambda plan: plan.n_points != base.n_points)  # stable
