"""FPFH by Open3D, which the release takes: the reference that ours is compared with."""

from __future__ import annotations

import numpy as np
import pytest

try:
    import open3d
except (ImportError, OSError):  # not installed, or one of its system libraries is missing
    open3d = None

needs_open3d = pytest.mark.skipif(open3d is None, reason="Open3D does not import here")


def fpfh_by_open3d(
    points: np.ndarray,
    normal_radius: float = 0.05,
    normal_neighbours: int = 30,
    feature_radius: float = 0.1,
    feature_neighbours: int = 100,
) -> np.ndarray:
    """Arguments and result as of `btp.geometry.fpfh.fpfh`."""
    search = open3d.geometry.KDTreeSearchParamHybrid
    pcd = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.astype(np.float64)))
    pcd.estimate_normals(search(normal_radius, normal_neighbours))
    feature = open3d.pipelines.registration.compute_fpfh_feature(
        pcd, search(feature_radius, feature_neighbours)
    )
    return np.asarray(feature.data).T.astype(np.float32, order="C")
