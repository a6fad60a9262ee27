"""Tables 1-5 of the paper from stored results, the paper's own numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from btp.experiments.protocol import POINTS, VARIANTS
from btp.experiments.record import RunRecord
from btp.report import footnotes, paper
from btp.report.evidence import Evidence
from btp.report.table_parts import (
    baseline_rows,
    category_columns,
    heading,
    notes_of,
    ours_beside,
    remarks_of,
)
from btp.report.tables import (
    DEVIATIONS,
    MEAN,
    OVER_SEEDS,
    TITLES,
    Cell,
    Row,
    Table,
    by_category,
    by_metric,
    deviations,
    difference,
)

SUMMARY = ("object_auroc", "object_ap", "object_f1max", "point_auroc", "point_ap")
ABLATION = ("object_auroc", "object_ap", "point_auroc", "coverage_auc", "aupro")


def tables_of(evidence: Evidence, numbers: Sequence[str]) -> list[Table]:
    """Make the tables of these numbers, as far as there are results for them."""
    makers = {"1": _table1, "2": _table2, "3": _table3, "4": _table4, "5": _table5}
    return [table for number in numbers for table in makers[number](evidence)]


def _table1(evidence: Evidence) -> list[Table]:
    """Make Table 1: object and point AUROC by category."""
    runs = evidence.of(evidence.train_cats)
    if not (runs or evidence.dataset == "real3d"):
        return []
    tables = []
    for metric in ("object_auroc", "point_auroc"):
        printed = paper.table1(metric) if evidence.dataset == "real3d" else []
        make = partial(_by_category, metric=metric, categories=evidence.categories)
        as_printed = [row for row in printed if row.kind == "paper"]
        rows = [row for row in printed if row.kind == "quoted"]
        rows += baseline_rows(evidence, make)
        rows += ours_beside("ours", "BTP, ours", make(runs), as_printed)
        table = Table(
            "1",
            metric,
            f"Table 1, {TITLES[metric]} by test category, %: {heading(evidence)}",
            "method",
            category_columns(evidence.categories) | (DEVIATIONS if runs else {}),
            rows,
            notes_of(evidence, runs, table="1"),
            remarks_of(evidence, runs, evidence.missing(evidence.train_cats)),
            inline_std=False,
            grouped=True,
        )
        tables.append(table)
    return tables


def _table2(evidence: Evidence) -> list[Table]:
    """Make Table 2: point AUROC of each training category on each other one."""
    categories = evidence.categories
    ours = []
    for train_cat in categories:
        runs = evidence.of([train_cat])
        others = [c for c in categories if c != train_cat]
        cells = by_category(runs, "point_auroc", others)
        cells |= {OVER_SEEDS: deviations(cells[MEAN])[OVER_SEEDS]}
        if runs:
            ours.append(Row(train_cat, train_cat, cells))
    if len(ours) < 2 and (ours or evidence.dataset != "real3d"):
        return []
    runs = evidence.of(categories)
    notes = notes_of(evidence, runs, table="2")
    remarks = remarks_of(evidence, runs, evidence.missing(categories))
    parts = {"ours": ours}
    if evidence.dataset == "real3d":
        printed = paper.table2()
        theirs = {name: Row(name, name, cells, "paper") for name, cells in printed.items()}
        parts["paper"] = [theirs[name] for name in categories if name in theirs]
        parts["difference"] = [
            replace(difference(row, theirs[row.name], row.title), name=row.name)
            for row in ours
            if row.name in theirs
        ]
    over_seeds = {OVER_SEEDS: DEVIATIONS[OVER_SEEDS]}
    named = {"ours": "ours", "paper": "the paper's", "difference": "ours − paper"}
    return [
        Table(
            "2",
            part,
            f"Table 2, P-AUROC, %, {named[part]}: {heading(evidence)}",
            "trained on ↓, tested on →",
            category_columns(categories) | (over_seeds if part == "ours" else {}),
            rows,
            notes if part == "ours" else (),
            remarks if part == "ours" else (),
            heat=part != "difference",
            inline_std=False,
        )
        for part, rows in parts.items()
        if rows
    ]


def _table3(evidence: Evidence) -> list[Table]:
    """Make Table 3: all of the paper's metrics, mean over categories."""
    runs = evidence.of(evidence.train_cats)
    if not (runs or evidence.published):
        return []
    metrics = (*SUMMARY, "coverage_auc", "aupro")
    make = partial(by_metric, metrics=metrics, categories=evidence.categories)
    printed = paper.table3(evidence.dataset) if evidence.published else []
    others = paper.others(evidence.dataset) if evidence.published else []
    rows = [row for row in (*printed, *others) if row.kind == "quoted"]
    columns = {metric: TITLES[metric] for metric in metrics}
    if rows:
        columns["printed_pro"] = "P-PRO, printed"
    rows += baseline_rows(evidence, make)
    as_printed = [row for row in printed if row.kind == "paper"]
    update = [row for row in others if row.kind == "paper"]
    cells = make(runs)
    rows += ours_beside("ours", "BTP, ours", cells, as_printed)
    rows += update
    if runs and evidence.recipe.name.partition(",")[0] == "release":
        ours = Row("ours-update", "BTP, ours", cells)
        rows += [difference(ours, row, "ours − update") for row in update]
    main = Table(
        "3",
        "",
        f"Table 3, mean over test categories, %: {heading(evidence)}",
        "method",
        columns,
        rows,
        notes_of(evidence, runs, table="3"),
        remarks_of(evidence, runs, evidence.missing(evidence.train_cats)),
        inline_std=False,
        grouped=True,
    )
    return [main, *_deviations(evidence, cells, as_printed[:1])]


def _deviations(
    evidence: Evidence, ours: Mapping[str, Cell], printed: Sequence[Row]
) -> list[Table]:
    """Table 3's line of ours and of the paper, metric by metric, with each kind of deviation."""
    theirs = printed[0].cells if printed else {}
    rows = []
    for metric, cell in ours.items():
        known = {"mean": cell, **deviations(cell)}
        if metric in theirs:
            known["printed"] = Cell(theirs[metric].mean)
            known["printed_std"] = Cell(theirs[metric].std)
        known = {name: each for name, each in known.items() if not math.isnan(each.mean)}
        kind = "ours" if "mean" in known else "paper"
        rows += [Row(metric, TITLES[metric], known, kind)] if known else []
    columns = {"mean": "BTP, ours", **DEVIATIONS}
    if printed:
        columns |= {"printed": "as printed", "printed_std": "±, as printed"}
    notes = [footnotes.PLUS_MINUS] if printed else []
    title = f"Table 3, what ± may mean, %: {heading(evidence)}"
    table = Table("3", "deviations", title, "metric", columns, rows, notes)
    return [replace(table, compares=False, inline_std=False)]


def _table4(evidence: Evidence) -> list[Table]:
    """Make Table 4: modules and losses taken away."""
    printed = paper.table4(evidence.dataset) if evidence.published else {}
    rows, missing, found = [], [], []
    for variant in VARIANTS:
        if variant == "baseline":
            runs = evidence.baseline("ulip_zero_shot")
        else:
            runs = evidence.of(evidence.train_cats, variant)
            missing += evidence.missing(evidence.train_cats, variant)
            found += runs
        title = variant.replace("_", " ")
        cells = by_metric(runs, ABLATION, evidence.categories)
        theirs = Row(f"{variant}-paper", f"{title}, as printed", printed.get(variant, {}), "paper")
        rows += ours_beside(variant, title, cells, [theirs])
    if len({run.variant for run in found}) < 2 and (evidence.runs or not printed):
        return []
    columns = {metric: TITLES[metric] for metric in ABLATION}
    title = f"Table 4, modules and losses, %: {heading(evidence)}"
    notes, remarks = notes_of(evidence, found, table="4"), remarks_of(evidence, found, missing)
    return [Table("4", "", title, "variant", columns, rows, notes, remarks)]


def _table5(evidence: Evidence) -> list[Table]:
    """Make Table 5: number of points, and the speed that the last benchmark measured."""
    printed = paper.table5() if evidence.dataset == "real3d" else {}
    rows, missing, found = [], [], []
    for n_points in POINTS:
        runs = evidence.of(evidence.train_cats, n_points=n_points)
        missing += evidence.missing(evidence.train_cats, n_points=n_points)
        found += runs
        title = f"{n_points:,} points"
        cells = by_metric(runs, ABLATION, evidence.categories)
        if runs:
            cells["clouds_per_second"] = Cell(evidence.speed.by_points.get(n_points, math.nan))
        theirs = Row(
            f"{n_points}-paper", f"{title}, as printed", printed.get(n_points, {}), "paper"
        )
        rows += ours_beside(str(n_points), title, cells, [theirs])
    if len({run.n_points for run in found}) < 2 and (evidence.runs or not printed):
        return []
    columns = {metric: TITLES[metric] for metric in ABLATION} | {"clouds_per_second": "clouds / s"}
    notes = [*notes_of(evidence, found, table="5"), evidence.speed.note]
    remarks = remarks_of(evidence, found, missing)
    title = f"Table 5, number of points, %: {heading(evidence)}"
    return [Table("5", "", title, "points", columns, rows, notes, remarks)]


def _by_category(
    runs: Sequence[RunRecord], metric: str, categories: Sequence[str]
) -> dict[str, Cell]:
    """A cell for each category, their mean, and the two deviations of that."""
    cells = by_category(runs, metric, categories)
    return cells | deviations(cells[MEAN])
