"""Tables as data: cells that know the results behind them, and how results are averaged."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from btp.experiments.record import RunRecord

TITLES = {
    "object_auroc": "O-AUROC",
    "object_ap": "O-AP",
    "object_f1max": "O-F1",
    "point_auroc": "P-AUROC",
    "point_ap": "P-AP",
    "aupro": "AU-PRO",
    "coverage_auc": "coverage AUC",
    "raw_point_auroc": "P-AUROC raw",
    "raw_point_ap": "P-AP raw",
    "raw_aupro": "AU-PRO raw",
}
MEAN = "mean"
# Columns of their own for the two deviations that "±" may mean.
OVER_SEEDS = "std_over_seeds"
OVER_TRAINING = "std_over_training_categories"
DEVIATIONS = {OVER_SEEDS: "± over seeds", OVER_TRAINING: "± over training categories"}
Pro = Literal["standard", "coverage"]
"""D4: the figure that is printed as P-PRO: standard AU-PRO, or the paper's coverage AUC."""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: in percent, unless the column says otherwise; nan where there is none.
        std: over seeds, with n - 1; nan where there are not two.
        spread: the same over training categories, each the mean of its seeds.
        records: that it is the mean of; none for quoted numbers.
        category: test category that it is of; None for a mean over several.
        metric: that it is of.
    """

    mean: float = math.nan
    std: float = math.nan
    spread: float = math.nan
    records: tuple[RunRecord, ...] = ()
    category: str | None = None
    metric: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        name: for commands and programs.
        title: for people.
        cells: by column; a column may be missing.
        kind: "ours", "baseline", "quoted", "paper" or "difference".
        notes: footnotes of this line.
        zero_shot: False for a method that needs normal scans of the tested category.
    """

    name: str
    title: str
    cells: Mapping[str, Cell]
    kind: str = "ours"
    notes: Sequence[str] = ()
    zero_shot: bool = True

    @property
    def group(self) -> str:
        """Heading of the lines of its kind, in a table that sorts its lines so."""
        return "zero-shot" if self.zero_shot else "need normal scans of the tested category"


@dataclass(frozen=True)
class Table:
    """A table, ready to be typeset.

    Attributes:
        number: "1" to "5" as in the paper, or "all" for every metric of every category.
        part: what tells tables of one number apart, "" if there is one.
        title: above it.
        corner: heading of the first column.
        columns: name -> title.
        rows: top to bottom.
        notes: footnotes, which other tables may have as well.
        remarks: lines below it that are of this table alone.
        compares: whether its lines are compared, so that the best figure of a column stands out.
        heat: whether its cells are coloured by their value where that can be shown.
        inline_std: whether a cell shows its deviation over seeds beside its mean.
        grouped: whether zero-shot lines and others stand below headings of their own.
    """

    number: str
    part: str
    title: str
    corner: str
    columns: Mapping[str, str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    compares: bool = True
    heat: bool = False
    inline_std: bool = True
    grouped: bool = False

    @property
    def name(self) -> str:
        """Name of the table, for files and programs."""
        return f"{self.number}-{self.part}" if self.part else self.number

    def groups(self) -> list[tuple[str, list[Row]]]:
        """Return the lines by heading, zero-shot ones last; one group without, if not `grouped`."""
        if not self.grouped:
            return [("", list(self.rows))]
        by_heading: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.zero_shot):  # stable
            by_heading.setdefault(row.group, []).append(row)
        return list(by_heading.items())

    def is_best(self, row: Row, column: str) -> bool:
        """Tell whether a figure is the highest of its column among zero-shot lines, as printed."""
        if not self.compares or column in DEVIATIONS:
            return False
        known = [_tenths(r, column) for r in self.rows if _competes(r, column)]
        return len(known) > 1 and _competes(row, column) and _tenths(row, column) == max(known)


def _competes(row: Row, column: str) -> bool:
    cell = row.cells.get(column)
    known = cell is not None and not math.isnan(cell.mean)
    return known and row.zero_shot and row.kind != "difference"


def _tenths(row: Row, column: str) -> float:
    return round(row.cells[column].mean, 1)


def average(
    records: Iterable[RunRecord], metric: str, categories: Sequence[str], of: str | None = None
) -> Cell:
    """Average as the protocol does: over train categories, then test categories, then seeds.

    A run says nothing of its own train category, so a category's mean is over the runs that did not
    see it. Categories that define no such metric, its scans having one label only, are left out.

    Args:
        records: that differ in train category and seed only.
        metric: of `btp.evaluation.scoring.METRICS`.
        categories: to average over.
        of: the one category, for the cell's origin.
    """
    used = tuple(r for r in records if any(c in r.categories for c in categories))
    by_seed: dict[int, list[RunRecord]] = defaultdict(list)
    for record in used:
        by_seed[record.seed].append(record)
    seeds = []
    for runs in by_seed.values():
        known = [_of_category(runs, metric, category) for category in categories]
        known = [value for value in known if not math.isnan(value)]
        if known:
            seeds.append(100 * statistics.fmean(known))
    if not seeds:
        return Cell(metric=metric, category=of)
    spread = _over_training_categories(used, metric, categories)
    return Cell(statistics.fmean(seeds), _deviation(seeds), spread, used, of, metric)


def _over_training_categories(
    records: Sequence[RunRecord], metric: str, categories: Sequence[str]
) -> float:
    """Deviation of the training categories' own means, each over test categories and seeds."""
    by_training: dict[str | None, list[float]] = defaultdict(list)
    for record in records:
        values = [record.categories[c][metric] for c in categories if c in record.categories]
        known = [value for value in values if not math.isnan(value)]
        if known:
            by_training[record.train_cat].append(100 * statistics.fmean(known))
    return _deviation([statistics.fmean(values) for values in by_training.values()])


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation with n - 1; nan of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _of_category(runs: Sequence[RunRecord], metric: str, category: str) -> float:
    values = [run.categories[category][metric] for run in runs if category in run.categories]
    return statistics.fmean(values) if values else math.nan


def by_category(
    records: Sequence[RunRecord], metric: str, categories: Sequence[str]
) -> dict[str, Cell]:
    """Make a cell for each category, and the mean of all under `MEAN`."""
    cells = {c: average(records, metric, [c], c) for c in categories}
    return cells | {MEAN: average(records, metric, categories)}


def by_metric(
    records: Sequence[RunRecord], metrics: Iterable[str], categories: Sequence[str]
) -> dict[str, Cell]:
    """Make a cell for each metric, its mean over all categories."""
    return {metric: average(records, metric, categories) for metric in metrics}


def deviations(cell: Cell) -> dict[str, Cell]:
    """Make a cell of each of the two deviations of a figure, under the names of `DEVIATIONS`."""
    return {
        OVER_SEEDS: replace(cell, mean=cell.std, std=math.nan, spread=math.nan),
        OVER_TRAINING: replace(cell, mean=cell.spread, std=math.nan, spread=math.nan),
    }


def difference(ours: Row, paper: Row, title: str = "ours − paper") -> Row:
    """Subtract the paper's row from ours, in the columns that both have."""
    cells = {
        column: Cell(cell.mean - paper.cells[column].mean)
        for column, cell in ours.cells.items()
        if column in paper.cells and not math.isnan(cell.mean - paper.cells[column].mean)
    }
    return Row(f"{ours.name}-difference", title, cells, "difference")


def every_metric(records: Sequence[RunRecord], title: str, pro: Pro = "standard") -> Table:
    """Make the table of all metrics of all categories, which the paper does not have.

    Args:
        records: of runs that differ in train category or seed only.
        title: above the table.
        pro: which column is marked as P-PRO (D4).
    """
    names = sorted({category for record in records for category in record.categories})
    cells = {metric: by_category(records, metric, names) for metric in TITLES}
    rows = [Row(n, n, {metric: cells[metric][n] for metric in TITLES}) for n in [*names, MEAN]]
    chosen = "aupro" if pro == "standard" else "coverage_auc"
    titles = TITLES | {chosen: f"{TITLES[chosen]} (P-PRO)"}
    repeated = {c: n for record in records for c, n in record.repeated.items()}
    trained = ", ".join(sorted({str(record.train_cat) for record in records}))
    runs = f"{len(records)} {'runs' if len(records) > 1 else 'run'}"
    remarks = [f"Trained on {trained}; {runs}."]
    for category, count in sorted(repeated.items()):
        remarks.append(f"{category}: {count} small scans sampled with repetition.")
    for metric in TITLES:
        absent = [n for n in names if math.isnan(cells[metric][n].mean)]
        if absent:
            remarks.append(f"mean: {TITLES[metric]} without {', '.join(absent)} (one label only).")
    corner = "unseen category, %"
    return Table("all", "", title, corner, titles, rows, remarks=remarks, compares=False)
