"""Point-cloud geometry: sampling, neighbours, normals, FPFH, local surface geometry.

The names of `btp.geometry.points` are also found here: `btp.geometry.farthest_point_sample`.
"""

from btp.geometry.points import farthest_point_sample, knn

__all__ = ["farthest_point_sample", "knn"]
