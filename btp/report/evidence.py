"""The results that a report's tables may use, and which are not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from btp.experiments.protocol import POINTS, TRAINED_VARIANTS, train_categories
from btp.experiments.record import Result
from btp.recipe import Recipe
from btp.report import paper
from btp.types import N_POINTS


@dataclass(frozen=True)
class Evidence:
    """All results that tables may use: one dataset, one encoder, one recipe with its variants.

    Attributes:
        dataset: its name.
        encoder: its name.
        recipe: the full one.
        categories: of the dataset.
        seeds: that the tables are planned for.
        n_points: of Tables 1-4.
        results: of runs.
        baselines: of other methods, by name in `BASELINES`.
    """

    dataset: str
    encoder: str
    recipe: Recipe
    categories: Sequence[str]
    seeds: Sequence[int]
    results: Sequence[Result]
    baselines: Mapping[str, Sequence[Result]]
    n_points: int = N_POINTS

    def of(
        self, train_cats: Sequence[str], variant: str = "full", n_points: int | None = None
    ) -> list[Result]:
        """The runs on these training categories."""
        n_points = self.n_points if n_points is None else n_points
        return [
            r
            for r in self.results
            if r.train_cat in train_cats
            and r.seed in self.seeds
            and (r.variant, r.n_points) == (variant, n_points)
        ]

    @property
    def few(self) -> tuple[str, ...]:
        """The training categories of Tables 1 and 3-5."""
        return train_categories(self.dataset, self.categories)

    @property
    def published(self) -> bool:
        """Whether the paper has numbers on the dataset."""
        return self.dataset in paper.DATASETS

    def baseline(self, name: str) -> list[Result]:
        """Results of a baseline; of one that is trained, those on the training categories."""
        return [r for r in self.baselines.get(name, ()) if r.train_cat in (None, *self.few)]

    def missing(
        self, train_cats: Sequence[str], variant: str = "full", n_points: int | None = None
    ) -> list[str]:
        """Names of the runs that are not there."""
        n_points = self.n_points if n_points is None else n_points
        there = {(r.train_cat, r.seed) for r in self.of(train_cats, variant, n_points)}
        marks = "" if variant == "full" else f" {variant}"
        marks += "" if n_points == self.n_points else f" {n_points} points"
        return [
            f"{c} seed {seed}{marks}"
            for seed in self.seeds
            for c in train_cats
            if (c, seed) not in there
        ]

    def gaps(self, table: str) -> tuple[int, int]:
        """How many runs of a table's are missing, of how many."""
        wanted: list[tuple[Sequence[str], str, int]] = [(self.few, "full", self.n_points)]
        if table == "2":
            wanted = [(self.categories, "full", self.n_points)]
        elif table == "4":
            wanted = [(self.few, variant, self.n_points) for variant in TRAINED_VARIANTS]
        elif table == "5":
            wanted = [(self.few, "full", n_points) for n_points in POINTS]
        missing = sum(len(self.missing(*each)) for each in wanted)
        return missing, sum(len(each[0]) for each in wanted) * len(self.seeds)

    @property
    def all_results(self) -> list[Result]:
        """Of runs, then of baselines."""
        return [*self.results, *(r for each in self.baselines.values() for r in each)]
