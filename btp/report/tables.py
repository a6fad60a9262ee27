"""Results as tables: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from btp.evaluation import METRICS, mean_over_categories

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
Row = tuple[str, dict[str, float], list[str]]


def category_rows(results: Sequence[dict[str, Any]]) -> list[Row]:
    """Mean of each test category over train categories, then seeds; then the mean over categories.

    Args:
        results: of runs that differ in train category or seed only. A run says nothing of its own
            train category, so a category's mean is over the runs that did not see it.

    Returns:
        (category, metrics, remarks); the last row is "mean", its remarks name the categories that a
        metric's mean leaves out.
    """
    by_category: dict[str, dict[int, list[dict[str, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for result in results:
        for category, values in result["categories"].items():
            by_category[category][result["seed"]].append(values)
    repeated = {c: n for result in results for c, n in result.get("repeated", {}).items()}
    rows: list[Row] = []
    for category in sorted(by_category):
        seeds = by_category[category].values()
        values = {
            name: float(np.mean([np.mean([run[name] for run in runs]) for runs in seeds]))
            for name in METRICS
        }
        remarks = ["one label only"] if math.isnan(values["object_auroc"]) else []
        if category in repeated:
            remarks.append(f"{repeated[category]} small scans sampled with repetition")
        rows.append((category, values, remarks))
    means = mean_over_categories([values for _, values, _ in rows])
    names = [category for category, _, _ in rows]
    remarks = [
        f"{TITLES[metric]} without {', '.join(names[i] for i in left_out)}"
        for metric, (_, left_out) in means.items()
        if left_out
    ]
    rows.append(("mean", {metric: mean for metric, (mean, _) in means.items()}, remarks))
    return rows


def markdown(rows: Sequence[Row], caption: str, pro: str = "standard") -> str:
    """A Markdown table in percent, remarks below it.

    Args:
        rows: of `category_rows`.
        caption: above the categories.
        pro: the recipe's P-PRO (D4), "standard" or "coverage": that column says so.
    """
    chosen = "aupro" if pro == "standard" else "coverage_auc"
    titles = TITLES | {chosen: f"{TITLES[chosen]} (P-PRO)"}
    lines = [
        f"| {caption} | {' | '.join(titles.values())} |",
        f"|---|{'--:|' * len(TITLES)}",
    ]
    for name, values, _ in rows:
        cells = (_percent(values[metric]) for metric in TITLES)
        title = f"**{name}**" if name == "mean" else name
        lines.append(f"| {title} | {' | '.join(cells)} |")
    notes = [f"{name}: {remark}" for name, _, remarks in rows for remark in remarks]
    return "\n".join([*lines, "", *notes]) + "\n"


def to_csv(tables: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """Tables by title as CSV, as fractions with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "category", *METRICS, "remarks"])
    for title, rows in tables:
        for name, values, remarks in rows:
            cells = (f"{values[metric]:.6f}" for metric in METRICS)
            writer.writerow([title, name, *cells, "; ".join(remarks)])
    return text.getvalue()


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"
