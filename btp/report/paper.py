"""Printed numbers, of the paper's Tables 1-5 and of others: facts to compare with, not results."""

from __future__ import annotations

import csv
import math
from importlib import resources

from btp.report.tables import MEAN, Cell, Row

DATASETS = ("real3d", "anomaly_shapenet")
_FILES = {
    "1": "table1_real3d_auroc_by_category.csv",
    "2": "table2_real3d_cross_category_point_auroc.csv",
    "3": "table3_both_datasets.csv",
    "4": "table4_ablation.csv",
    "5": "table5_number_of_points.csv",
    "others": "others.csv",
}
# The quoted methods that are zero-shot; all others compare with normal scans of the category.
ZERO_SHOT = {"PointCLIPV2", "AnomalyCLIP", "PointAD"}
_UPDATE = "BTP-2026-05"  # object scores of the authors' update of their release
# Table 1 has these two headers exchanged: one header for all of its lines.
SWAPPED = {"car": "candybar", "candybar": "car"}
# Columns of Tables 3-5 -> our metrics: BTP's P-PRO is a coverage AUC (D4).
_METRICS = {
    "o-auroc": "object_auroc",
    "o-ap": "object_ap",
    "o-f1": "object_f1max",
    "p-auroc": "point_auroc",
    "p-ap": "point_ap",
    "p-pro": "coverage_auc",
    "p-aupro": "coverage_auc",
    "clouds-per-second": "clouds_per_second",
}


def lines(table: str) -> list[dict[str, str]]:
    """Read a table's lines as they are printed."""
    path = resources.files("btp.report") / "paper" / _FILES[table]
    with path.open(encoding="utf-8") as text:
        return list(csv.DictReader(text))


def table1(metric: str) -> list[Row]:
    """Return the lines of Table 1 under their right names; the last is BTP's."""
    rows = []
    for line in lines("1"):
        if line.pop("metric") != metric:
            continue
        method, note = line.pop("method"), line.pop("note")
        cells = {_category(name): number(value) for name, value in line.items()}
        by_pointad = bool(note) and method != "PointAD"
        rows.append(_quoted(method, cells, ", by way of PointAD" if by_pointad else ""))
    return rows


def others(dataset: str) -> list[Row]:
    """Return the lines on a dataset that are not of the paper, by object and point AUROC.

    The last is of the paper's authors: object scores of the update of their release.
    """
    rows = []
    for line in lines("others"):
        cells = {
            metric: number(value)
            for metric in ("object_auroc", "point_auroc")
            if (value := line[f"{dataset}_{metric}"])
        }
        if line["method"] == _UPDATE:
            rows.append(Row("update", "BTP, authors' update of May 2026", cells, "paper"))
        elif cells:
            needs_normal_scans = line["needs_normal_scans"] == "1"
            rows.append(_row(line["method"], cells, "quoted", not needs_normal_scans))
    return rows


def table2() -> dict[str, dict[str, Cell]]:
    """Return Table 2: train category -> test category -> point AUROC."""
    table = {}
    for line in lines("2"):
        train_cat = line.pop("train_category")
        table[train_cat] = {_mean_or(name): number(value) for name, value in line.items() if value}
    return table


def table3(dataset: str) -> list[Row]:
    """Return the lines of Table 3 on a dataset; the last is BTP's.

    What the paper prints as P-PRO for others is in the column "printed_pro".
    """
    rows = []
    for line in lines("3"):
        cells = _of_dataset(line, dataset)
        if line["method"] != "BTP" and "coverage_auc" in cells:
            cells["printed_pro"] = cells.pop("coverage_auc")  # theirs may be another measure
        if cells:
            rows.append(_quoted(line["method"], cells))
    return rows


def table4(dataset: str) -> dict[str, dict[str, Cell]]:
    """Return Table 4: variant -> metric -> value."""
    return {line["variant"]: _of_dataset(line, dataset) for line in lines("4")}


def table5() -> dict[int, dict[str, Cell]]:
    """Return Table 5, of Real3D-AD: number of points -> metric -> value; speed on an RTX 4090."""
    return {
        int(line["points"]): {
            metric: number(value)
            for name, value in line.items()
            if (metric := _METRICS.get(name.replace("_", "-")))
        }
        for line in lines("5")
    }


def number(text: str) -> Cell:
    """Read a printed number, with its deviation where there is one."""
    mean, _, std = text.partition("±")
    return Cell(float(mean) if mean else math.nan, float(std) if std else math.nan)


def _of_dataset(line: dict[str, str], dataset: str) -> dict[str, Cell]:
    prefix = f"{dataset}_"
    named = {
        name.removeprefix(prefix): value for name, value in line.items() if name.startswith(prefix)
    }
    return {
        _METRICS[name.lower().replace("_", "-")]: number(value)
        for name, value in named.items()
        if value
    }


def _category(name: str) -> str:
    return SWAPPED.get(name, _mean_or(name))


def _mean_or(name: str) -> str:
    return MEAN if name == "Mean" else name


def _quoted(method: str, cells: dict[str, Cell], note: str = "") -> Row:
    if method == "BTP":
        return Row("paper", "BTP, as printed", cells, "paper")
    return _row(method, cells, f"quoted{note}", method in ZERO_SHOT)


def _row(method: str, cells: dict[str, Cell], source: str, zero_shot: bool) -> Row:
    title = f"{method.replace('_', ' ')} ({source})"
    return Row(method, title, cells, "quoted", zero_shot=zero_shot)
