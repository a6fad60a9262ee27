"""The numbers that results are reported in, as functions of arrays.

Every area here is exact: it counts at every distinct score, and tied scores are one threshold.
A metric that its input leaves undefined, because only one label is present, is nan: it never
raises and never counts as 0, and a mean over categories has to name those it left out.
"""

from btp.metrics.detection import object_metrics, point_metrics, point_metrics_from_counts
from btp.metrics.ground_truth import PointCounts, count_points, regions
from btp.metrics.localization import aupro, aupro_from_counts, aupro_from_regions, coverage_auc

__all__ = [
    "PointCounts",
    "aupro",
    "aupro_from_counts",
    "aupro_from_regions",
    "count_points",
    "coverage_auc",
    "object_metrics",
    "point_metrics",
    "point_metrics_from_counts",
    "regions",
]
