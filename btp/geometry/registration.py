"""Rigid registration of a scan to a template by Open3D: RANSAC on FPFH, then ICP.

The steps and their scale, in units of the edge of the cubes that both clouds are thinned to, are
those of the Real3D-AD benchmark (edge 0.5 mm), which takes them from Open3D's own tutorial. Unlike
there, ICP runs on the thinned clouds, point to plane, instead of on every raw point.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from btp.errors import ConfigError
from btp.geometry.planes import Floats

Registration = Literal["none", "open3d"]
"""Whether scans are moved onto a normal scan of their category before they are described."""

NORMAL_EDGES, NORMAL_LIMIT = 2.0, 30  # radius and most neighbours of normals
FEATURE_EDGES, FEATURE_LIMIT = 5.0, 100  # of FPFH
RANSAC_EDGES = 1.5  # farthest that matching points may lie apart
RANSAC_TRIALS, RANSAC_CONFIDENCE = 100_000, 0.999
SIMILAR = 0.9  # ratio of the edges of two matching triangles
ICP_EDGES = 0.4

_one_at_a_time = threading.Lock()  # Open3D has one random generator for the whole process


def require_open3d() -> Any:
    """Import Open3D and return it.

    Raises:
        ConfigError: if it is not installed, or does not import here.
    """
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:  # OSError: a system library is missing
        raise ConfigError(
            f"registration=open3d needs Open3D, which does not import here ({error}); install it "
            "with pip install -e '.[open3d]', or leave registration=none"
        ) from error


def register(
    points: NDArray[np.floating], template: NDArray[np.floating], edge: float, seed: int = 0
) -> Floats:
    """Find the rotation and shift that move a scan onto a template.

    The same points and seed give the same result: Open3D runs in one thread. Its random generator,
    which is its own, is left seeded.

    Args:
        points: float [R, 3], in any unit.
        template: float [T, 3], in the same unit.
        edge: of the cubes that both are thinned to, in that unit.
        seed: of RANSAC.

    Returns:
        float64 [4, 4]: `points @ result[:3, :3].T + result[:3, 3]` lies on the template. Where no
        match is found it is the identity.

    Raises:
        ConfigError: if Open3D does not import, or `edge` is not positive.
    """
    if not edge > 0:
        raise ConfigError(f"register: edge is {edge}; expected a positive length")
    open3d = require_open3d()
    from threadpoolctl import threadpool_limits

    methods = open3d.pipelines.registration
    with _one_at_a_time, threadpool_limits(1, "openmp"):
        moved, moved_fpfh = _described(open3d, points, edge)
        fixed, fixed_fpfh = _described(open3d, template, edge)
        open3d.utility.random.seed(seed)
        coarse = methods.registration_ransac_based_on_feature_matching(
            moved,
            fixed,
            moved_fpfh,
            fixed_fpfh,
            mutual_filter=True,
            max_correspondence_distance=RANSAC_EDGES * edge,
            estimation_method=methods.TransformationEstimationPointToPoint(False),
            ransac_n=3,
            checkers=[
                methods.CorrespondenceCheckerBasedOnEdgeLength(SIMILAR),
                methods.CorrespondenceCheckerBasedOnDistance(RANSAC_EDGES * edge),
            ],
            criteria=methods.RANSACConvergenceCriteria(RANSAC_TRIALS, RANSAC_CONFIDENCE),
        )
        fine = methods.registration_icp(
            moved,
            fixed,
            ICP_EDGES * edge,
            coarse.transformation,
            methods.TransformationEstimationPointToPlane(),
        )
    return np.array(fine.transformation, dtype=np.float64)


def _described(open3d: Any, points: NDArray[np.floating], edge: float) -> tuple[Any, Any]:
    """A thinned cloud with normals, and FPFH of its points."""
    search = open3d.geometry.KDTreeSearchParamHybrid
    rows = open3d.utility.Vector3dVector(np.ascontiguousarray(points, dtype=np.float64))
    cloud = open3d.geometry.PointCloud(rows).voxel_down_sample(edge)
    cloud.estimate_normals(search(NORMAL_EDGES * edge, NORMAL_LIMIT))
    described = open3d.pipelines.registration.compute_fpfh_feature(
        cloud, search(FEATURE_EDGES * edge, FEATURE_LIMIT)
    )
    return cloud, described
