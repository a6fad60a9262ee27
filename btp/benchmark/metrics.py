"""Metrics at full resolution: one sort, exact at every threshold, against 200 passes."""

from __future__ import annotations

from collections.abc import Iterator

from btp import metrics
from btp.benchmark import released_metrics
from btp.benchmark.measure import measure_both
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import defects

TOLERANCE = 1e-9


def rows(settings: Settings) -> Iterator[Row]:
    """Measure AU-PRO, and AUROC with average precision, of one category at full resolution."""
    count, n = settings.metric_clouds, settings.metric_points
    points, labels, scores = defects(0, n, count)
    size = f"{count} clouds × {n:,} points"
    # What both import is not measured.
    metrics.aupro(points[:1], labels[:1], scores[:1])
    released_metrics.point_metrics(labels[:1], scores[:1])
    plain, ours = measure_both(
        lambda: released_metrics.aupro(points, labels, scores),
        lambda: metrics.aupro(points, labels, scores),
        settings.slow_repeats,
    )
    coarse = metrics.aupro(points, labels, scores, thresholds=released_metrics.THRESHOLDS)
    yield row(
        "metrics",
        f"AU-PRO, {size}",
        plain,
        ours,
        goal=Goal(ratio=3, memory=1 / 3, seconds=10, megabytes=3000),
        difference=abs(coarse - plain.value),
        tolerance=TOLERANCE,
        note=(
            f"plain: 200 thresholds, {plain.value:.6f}; ours: every threshold, {ours.value:.6f}; "
            "compared at 200"
        ),
    )
    both = measure_both(
        lambda: released_metrics.point_metrics(labels, scores),
        lambda: metrics.point_metrics(labels, scores),
        settings.slow_repeats,
    )
    pairs = (both[0].value, both[1].value)
    yield row(
        "metrics",
        f"point AUROC and AP, {size}",
        *both,
        difference=max(abs(pairs[0][name] - pairs[1][name]) for name in pairs[0]),
        tolerance=TOLERANCE,
        note="plain: scikit-learn",
    )
