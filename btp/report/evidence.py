"""The records that the tables of one recipe may use, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from btp.experiments.memory_options import USUAL, MemoryOptions
from btp.experiments.protocol import POINTS, TRAINED_VARIANTS, train_categories
from btp.experiments.record import RunRecord
from btp.recipe import Recipe
from btp.report import paper
from btp.report.speed import Speed
from btp.report.tables import Pro
from btp.types import N_POINTS


@dataclass(frozen=True)
class Evidence:
    """All records that tables may use: one dataset, one encoder, one recipe with its variants.

    Attributes:
        dataset: its name.
        encoder: its name.
        recipe: the full one.
        categories: of the dataset.
        seeds: that the tables are planned for.
        runs: records of runs.
        baselines: records of other methods, by name in `BASELINES`.
        n_points: of Tables 1-4.
        pro: the figure that is printed as P-PRO (D4).
        speed: of this encoder, for Table 5.
        memories: options of the memories among the baselines.
    """

    dataset: str
    encoder: str
    recipe: Recipe
    categories: Sequence[str]
    seeds: Sequence[int]
    runs: Sequence[RunRecord]
    baselines: Mapping[str, Sequence[RunRecord]]
    n_points: int = N_POINTS
    pro: Pro = "standard"
    speed: Speed = field(default_factory=Speed)
    memories: MemoryOptions = USUAL

    def of(
        self, train_cats: Sequence[str], variant: str = "full", n_points: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that were trained on these categories."""
        n_points = self.n_points if n_points is None else n_points
        return [
            run
            for run in self.runs
            if run.train_cat in train_cats
            and run.seed in self.seeds
            and (run.variant, run.n_points) == (variant, n_points)
        ]

    @property
    def train_cats(self) -> tuple[str, ...]:
        """The training categories of Tables 1 and 3-5."""
        return train_categories(self.dataset, self.categories)

    @property
    def published(self) -> bool:
        """Whether the paper has numbers on the dataset."""
        return self.dataset in paper.DATASETS

    def baseline(self, name: str) -> list[RunRecord]:
        """Return the records of a baseline; of one that is trained, on the training categories."""
        wanted = (None, *self.train_cats)
        return [record for record in self.baselines.get(name, ()) if record.train_cat in wanted]

    def missing(
        self, train_cats: Sequence[str], variant: str = "full", n_points: int | None = None
    ) -> list[str]:
        """Name the runs that are not there."""
        n_points = self.n_points if n_points is None else n_points
        there = {(run.train_cat, run.seed) for run in self.of(train_cats, variant, n_points)}
        marks = "" if variant == "full" else f" {variant}"
        marks += "" if n_points == self.n_points else f" {n_points} points"
        return [
            f"{category} seed {seed}{marks}"
            for seed in self.seeds
            for category in train_cats
            if (category, seed) not in there
        ]

    def gaps(self, table: str) -> tuple[int, int]:
        """Count the runs that a table lacks, and those that it needs."""
        wanted: list[tuple[Sequence[str], str, int]] = [(self.train_cats, "full", self.n_points)]
        if table == "2":
            wanted = [(self.categories, "full", self.n_points)]
        elif table == "4":
            wanted = [(self.train_cats, variant, self.n_points) for variant in TRAINED_VARIANTS]
        elif table == "5":
            wanted = [(self.train_cats, "full", n_points) for n_points in POINTS]
        missing = sum(len(self.missing(*each)) for each in wanted)
        return missing, sum(len(each[0]) for each in wanted) * len(self.seeds)

    @property
    def records(self) -> list[RunRecord]:
        """All records: those of runs, then those of baselines."""
        return [*self.runs, *(record for each in self.baselines.values() for record in each)]
