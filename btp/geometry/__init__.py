"""Point-cloud geometry: sampling, neighbours, patches, normals, FPFH, local geometry.

Two names are public here: `btp.geometry.farthest_point_sample` and `btp.geometry.knn`.
"""

from btp.geometry.neighbours import knn
from btp.geometry.sampling import farthest_point_sample

__all__ = ["farthest_point_sample", "knn"]
